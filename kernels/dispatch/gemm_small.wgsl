// c[m][n] = alpha * (sum over k of a[m, k] * b[k, n]) + beta * e[m][n], for a batch of matrices too
// small to be worth sharing loads and waiting at barriers. One invocation per result. Params come
// from gemm_params.wgsl, with one split; addend(at) gives e's element where c's is at.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<AType>;
@group(0) @binding(2) var<storage, read> b: array<BType>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = (group.x + group.y * groups.x) * 64u + local;
  let column = id % params.n;
  let row = id / params.n % params.m;
  let batch = id / (params.n * params.m);
  if (batch >= params.batches) {
    return;
  }
  let a_start = params.a_offset + batch * params.a_stride_batch + row * params.a_stride_m;
  let b_start = params.b_offset + batch * params.b_stride_batch + column * params.b_stride_n;
  var sum = 0.0;
  for (var k0 = 0u; k0 < params.k; k0 += 16u) {
    var part = 0.0;
    for (var k = k0; k < min(k0 + 16u, params.k); k++) {
      part += f32(a[a_start + k * params.a_stride_k]) * f32(b[b_start + k * params.b_stride_k]);
    }
    sum += part;
  }
  let at = params.c_offset + batch * params.c_stride_batch + row * params.c_stride_m + column;
  var value = params.alpha * sum;
  if (params.beta != 0.0) {
    value += params.beta * addend(at);
  }
  c[at] = value;
}
