// logits[n][c] = scale * max over the words t of class c of (x[n] / |x[n]|) . words[t]
//
// The words of class c are those from starts[c] up to starts[c + 1]; they are unit rows already. A zero
// row of x stays zero. Where squares overflow or vanish, the largest magnitude is divided out first.
// One workgroup per row.

struct Params {
  rows: u32,
  columns: u32, // of x and words
  classes: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> words: array<f32>;
@group(0) @binding(3) var<storage, read> starts: array<u32>;
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.x + group.y * groups.x;
  let inside = row < params.rows;
  let start = row * params.columns;
  var largest = 0.0;
  if (inside) {
    for (var d = local; d < params.columns; d += 64u) {
      largest = max(largest, abs(x[start + d]));
    }
  }
  largest = max_over_workgroup(largest, local);
  let divisor = select(1.0, largest, largest > 0.0);
  var sum = 0.0;
  if (inside) {
    for (var d = local; d < params.columns; d += 64u) {
      let value = x[start + d] / divisor;
      sum += value * value;
    }
  }
  sum = sum_over_workgroup(sum, local);
  if (!inside) {
    return;
  }
  let norm = select(1.0, sqrt(sum), sum > 0.0);
  for (var c = local; c < params.classes; c += 64u) {
    var best = 0.0;
    for (var t = starts[c]; t < starts[c + 1u]; t++) {
      var dot = 0.0;
      for (var d = 0u; d < params.columns; d++) {
        dot += (x[start + d] / divisor) * words[t * params.columns + d];
      }
      // What isn't a number stays none.
      let logit = params.scale * (dot / norm);
      if (t == starts[c] || !(logit <= best)) {
        best = logit;
      }
    }
    logits[row * params.classes + c] = best;
  }
}
