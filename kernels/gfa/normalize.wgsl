// out[row][d] = x[row][d] / |x[row]|, for rows of a batch; a zero row stays zero, and so do the rows
// that only fill up the output. norms[batch][row] = |x[row]|.
//
// Where squares overflow or vanish, the largest magnitude is divided out first. That is rare, so
// every invocation finds it by itself and nobody waits. One workgroup per row of the output. X is the
// input's element type.

struct Params {
  rows: u32,
  out_rows: u32,
  columns: u32,
  batches: u32,
  offset: u32,
  batch_stride: u32,
  out_offset: u32,
  out_stride: u32,
  out_batch_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read_write> norms: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = group.x + group.y * groups.x;
  let row = id % params.out_rows;
  let batch = id / params.out_rows;
  let inside = batch < params.batches;
  let present = inside && row < params.rows;
  let start = params.offset + batch * params.batch_stride + row * params.columns;
  var sum = 0.0;
  if (present) {
    for (var d = local; d < params.columns; d += 64u) {
      let value = f32(x[start + d]);
      sum += value * value;
    }
  }
  sum = sum_over_workgroup(sum, local);
  var scale = 1.0;
  if (present && !(sum > 1e-30 && sum < 1e30)) {
    var largest = 0.0;
    for (var d = 0u; d < params.columns; d++) {
      largest = max(largest, abs(f32(x[start + d])));
    }
    scale = select(1.0, largest, largest > 0.0);
    sum = 0.0;
    for (var first = 0u; first < params.columns; first += 64u) {
      var part = 0.0;
      for (var d = first; d < min(first + 64u, params.columns); d++) {
        let value = f32(x[start + d]) / scale;
        part += value * value;
      }
      sum += part;
    }
  }
  let norm = select(1.0, sqrt(sum), sum > 0.0);
  if (!inside) {
    return;
  }
  let to = params.out_offset + batch * params.out_batch_stride + row * params.out_stride;
  for (var d = local; d < params.columns; d += 64u) {
    var value = 0.0;
    if (present) {
      value = (f32(x[start + d]) / scale) / norm;
    }
    out[to + d] = value;
  }
  if (local == 0u) {
    norms[id] = select(0.0, scale * norm, sum > 0.0);
  }
}
