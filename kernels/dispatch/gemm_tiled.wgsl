// c[m][n] = alpha * (sum over k of a[m, k] * b[k, n]) + beta * e[m][n], for a batch of matrices; with
// several splits of k, c holds their partial sums [splits][batches][m][n] instead.
//
// A workgroup computes a tile of 64 x 64 results with 4 x 4 per invocation, through workgroup
// memory. Operands are given by strides, so that either may be transposed or be a part of a wider
// matrix. AType and BType are the operands' element types, and k_per_split is a multiple of 16.
// Params come from gemm_params.wgsl; addend(at) gives e's element where c's is at.

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<AType>;
@group(0) @binding(2) var<storage, read> b: array<BType>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

var<workgroup> a_tile: array<f32, 1024>; // [16 of k][64 of m]
var<workgroup> b_tile: array<f32, 1024>; // [16 of k][64 of n]

fn store_row(start: u32, row: u32, column: u32, values: vec4<f32>) {
  if (row >= params.m) {
    return;
  }
  for (var j = 0u; j < 4u; j++) {
    if (column + 16u * j < params.n) {
      let at = start + row * params.c_stride_m + column + 16u * j;
      var value = params.alpha * values[j];
      if (params.beta != 0.0) {
        value += params.beta * addend(at);
      }
      c[at] = value;
    }
  }
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let tiles_n = (params.n + 63u) / 64u;
  let tiles = ((params.m + 63u) / 64u) * tiles_n;
  let id = group.x + group.y * groups.x;
  let split = (id / tiles) % params.splits;
  // The same for the whole workgroup; a surplus one still runs, on an empty range.
  let batch = id / (tiles * params.splits);
  let row0 = ((id % tiles) / tiles_n) * 64u;
  let column0 = ((id % tiles) % tiles_n) * 64u;
  let inside = batch < params.batches;
  let k_begin = select(params.k, min(split * params.k_per_split, params.k), inside);
  let k_end = min(k_begin + params.k_per_split, params.k);
  let a_start = params.a_offset + batch * params.a_stride_batch;
  let b_start = params.b_offset + batch * params.b_stride_batch;
  let tx = local % 16u;
  let ty = local / 16u;

  var sum0 = vec4<f32>();
  var sum1 = vec4<f32>();
  var sum2 = vec4<f32>();
  var sum3 = vec4<f32>();
  for (var k0 = k_begin; k0 < k_end; k0 += 16u) {
    for (var i = 0u; i < 4u; i++) {
      let at = local + 256u * i;
      // Neighbouring invocations read neighbouring elements, whichever stride is 1.
      var k = at / 64u;
      var m = at % 64u;
      if (params.a_stride_k == 1u) {
        k = at % 16u;
        m = at / 16u;
      }
      var value = 0.0;
      if (row0 + m < params.m && k0 + k < k_end) {
        value = f32(a[a_start + (row0 + m) * params.a_stride_m + (k0 + k) * params.a_stride_k]);
      }
      a_tile[k * 64u + m] = value;
      k = at / 64u;
      var n = at % 64u;
      if (params.b_stride_k == 1u) {
        k = at % 16u;
        n = at / 16u;
      }
      value = 0.0;
      if (column0 + n < params.n && k0 + k < k_end) {
        value = f32(b[b_start + (k0 + k) * params.b_stride_k + (column0 + n) * params.b_stride_n]);
      }
      b_tile[k * 64u + n] = value;
    }
    workgroupBarrier();
    // Sixteen products are summed apart before they join the total: the rounding error then grows
    // with 16 + K/16 instead of K.
    var part0 = vec4<f32>();
    var part1 = vec4<f32>();
    var part2 = vec4<f32>();
    var part3 = vec4<f32>();
    for (var k = 0u; k < 16u; k++) {
      let at = k * 64u;
      let right = vec4<f32>(
        b_tile[at + tx],
        b_tile[at + tx + 16u],
        b_tile[at + tx + 32u],
        b_tile[at + tx + 48u],
      );
      part0 += a_tile[at + ty] * right;
      part1 += a_tile[at + ty + 16u] * right;
      part2 += a_tile[at + ty + 32u] * right;
      part3 += a_tile[at + ty + 48u] * right;
    }
    sum0 += part0;
    sum1 += part1;
    sum2 += part2;
    sum3 += part3;
    workgroupBarrier();
  }
  if (inside) {
    let start = params.c_offset + batch * params.c_stride_batch + split * params.c_stride_split;
    store_row(start, row0 + ty, column0 + tx, sum0);
    store_row(start, row0 + ty + 16u, column0 + tx, sum1);
    store_row(start, row0 + ty + 32u, column0 + tx, sum2);
    store_row(start, row0 + ty + 48u, column0 + tx, sum3);
  }
}
