// c[m][n] = alpha * (sum over splits of partials[split][batch][m][n]) + beta * e[m][n];
// addend(at) gives e's element where c's is at.

struct Params {
  m: u32,
  n: u32,
  batches: u32,
  splits: u32,
  c_offset: u32,
  c_stride_m: u32,
  c_stride_batch: u32,
  addend_shift: u32,
  alpha: f32,
  beta: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = (group.x + group.y * groups.x) * 64u + local;
  let size = params.m * params.n;
  if (id >= size * params.batches) {
    return;
  }
  var sum = 0.0;
  for (var s = 0u; s < params.splits; s++) {
    sum += partials[s * size * params.batches + id];
  }
  let rest = id % size;
  let at = params.c_offset + (id / size) * params.c_stride_batch +
    (rest / params.n) * params.c_stride_m + rest % params.n;
  var value = params.alpha * sum;
  if (params.beta != 0.0) {
    value += params.beta * addend(at);
  }
  c[at] = value;
}
