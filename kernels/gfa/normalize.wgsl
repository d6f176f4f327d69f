// out[row][d] = x[row][d] / |x[row]|, for rows of a batch; a zero row stays zero, and so do the rows
// that only fill up the output. norms[batch][row] = |x[row]|.
//
// Where squares would overflow or vanish, the largest magnitude is divided out first. One workgroup
// per row of the output. X is the input's element type.

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
  var largest = 0.0;
  var sum = 0.0;
  if (present) {
    for (var d = local; d < params.columns; d += 64u) {
      let value = f32(x[start + d]);
      largest = max(largest, abs(value));
      sum += value * value;
    }
  }
  largest = max_over_workgroup(largest, local);
  sum = sum_over_workgroup(sum, local);
  let extreme = largest < 1e-15 || largest > 1e15;
  let scale = select(1.0, largest, extreme && largest > 0.0);
  var scaled = 0.0;
  if (present && extreme) {
    for (var d = local; d < params.columns; d += 64u) {
      let value = f32(x[start + d]) / scale;
      scaled += value * value;
    }
  }
  scaled = sum_over_workgroup(scaled, local);
  // Of a scaled row at least 1 unless it is zero.
  let norm = select(sqrt(sum), max(sqrt(scaled), 1.0), extreme);
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
    norms[id] = select(0.0, scale * norm, largest > 0.0);
  }
}
