// area[n] = sum of partial_area[n][chunk]. One workgroup per mask.

struct Params {
  masks: u32,
  chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial_area: array<f32>;
@group(0) @binding(2) var<storage, read_write> area: array<f32>;

var<workgroup> sums: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let mask = group.x + group.y * groups.x;
  var sum = 0.0;
  if (mask < params.masks) {
    for (var chunk = local; chunk < params.chunks; chunk += 64u) {
      sum += partial_area[mask * params.chunks + chunk];
    }
  }
  sums[local] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (local < half) {
      sums[local] += sums[local + half];
    }
    workgroupBarrier();
  }
  if (local == 0u && mask < params.masks) {
    area[mask] = sums[0];
  }
}
