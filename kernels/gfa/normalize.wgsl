// out[row][d] = x[row][d] / |x[row]|, written at an offset and row stride; a zero row stays zero.
//
// The largest magnitude is divided out first, so that squares neither overflow nor vanish. One
// workgroup per row.

struct Params {
  rows: u32,
  columns: u32,
  out_offset: u32,
  out_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

var<workgroup> shared_values: array<f32, 64>;

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
  shared_values[local] = largest;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (local < half) {
      shared_values[local] = max(shared_values[local], shared_values[local + half]);
    }
    workgroupBarrier();
  }
  let scale = select(1.0, shared_values[0], shared_values[0] > 0.0);
  workgroupBarrier();
  var sum = 0.0;
  if (inside) {
    for (var d = local; d < params.columns; d += 64u) {
      let value = x[start + d] / scale;
      sum += value * value;
    }
  }
  shared_values[local] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (local < half) {
      shared_values[local] += shared_values[local + half];
    }
    workgroupBarrier();
  }
  // At least 1 unless the row is zero.
  let norm = max(sqrt(shared_values[0]), 1.0);
  if (inside) {
    for (var d = local; d < params.columns; d += 64u) {
      out[params.out_offset + row * params.out_stride + d] = (x[start + d] / scale) / norm;
    }
  }
}
