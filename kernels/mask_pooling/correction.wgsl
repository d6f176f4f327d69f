// correction[plane] = (sum over cells of weights * by_weight) / (area[plane] + epsilon): what the
// gradient by the weights owes to the denominator of the mean. One workgroup per plane.

struct Params {
  planes: u32,
  cells: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weights: array<Cell>;
@group(0) @binding(2) var<storage, read> by_weight: array<Cell>;
@group(0) @binding(3) var<storage, read> area: array<f32>;
@group(0) @binding(4) var<storage, read_write> correction: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let plane = group.x + group.y * groups.x;
  if (plane >= params.planes) {
    return;
  }
  var sum = Cell();
  // Runs of 2048 cells are summed apart before they join the total, to round less.
  for (var start = 0u; start < params.cells; start += 2048u) {
    var part = Cell();
    for (var cell = start + local; cell < min(start + 2048u, params.cells); cell += 64u) {
      let at = plane * params.cells + cell;
      part += weights[at] * by_weight[at];
    }
    sum += part;
  }
  let whole = sum_over_workgroup(total(sum), local);
  if (local == 0u) {
    correction[plane] = whole / (area[plane] + params.epsilon);
  }
}
