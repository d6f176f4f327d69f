// probabilities[n][c] = softmax over the columns of logits[n], of which the first `classes` are kept.
//
// Minus infinity stands for a probability of 0; where all logits are that, so are all probabilities.
// NaN and plus infinity make a row NaN, told by its bits since WGSL may take it that there are none.
// One workgroup per row.

struct Params {
  rows: u32,
  columns: u32,
  classes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;
@group(0) @binding(2) var<storage, read_write> probabilities: array<u32>;

const not_finite = 0x7f800000u;
const minus_infinity = 0xff800000u;
const not_a_number = 0x7fc00000u;
const lowest = -3.4e38;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.x + group.y * groups.x;
  let inside = row < params.rows;
  let start = row * params.columns;
  var largest = lowest;
  var faults = 0.0;
  if (inside) {
    for (var c = local; c < params.columns; c += 64u) {
      let bits = logits[start + c];
      if ((bits & not_finite) != not_finite) {
        largest = max(largest, bitcast<f32>(bits));
      } else if (bits != minus_infinity) {
        faults += 1.0;
      }
    }
  }
  largest = max_over_workgroup(largest, local);
  faults = sum_over_workgroup(faults, local);
  var sum = 0.0;
  if (inside) {
    for (var c = local; c < params.columns; c += 64u) {
      let bits = logits[start + c];
      if ((bits & not_finite) != not_finite) {
        sum += exp(bitcast<f32>(bits) - largest);
      }
    }
  }
  sum = sum_over_workgroup(sum, local);
  if (!inside) {
    return;
  }
  for (var c = local; c < params.classes; c += 64u) {
    let bits = logits[start + c];
    var result = 0u;
    if (faults > 0.0) {
      result = not_a_number;
    } else if (bits != minus_infinity) {
      result = bitcast<u32>(exp(bitcast<f32>(bits) - largest) / sum);
    }
    probabilities[row * params.classes + c] = result;
  }
}
