// The gradient by the similarities S from those by Z and by P^T, in place of that by Z. With softmax
//   g[n][i] = z * by_z + pt * (by_pt - dots[i]),  by_s = g - z * (sum of g over the row)
// where dots[i] = sum over n of pt * by_pt; raw, with the columns' L1 norms in sums:
//   by_s = by_z + (by_pt - sign(z) * dots[i]) / sums[i].
// One workgroup per row.

struct Params {
  rows: u32, // of one batch
  columns: u32,
  stride: u32,
  batches: u32,
  raw: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> pt: array<f32>;
@group(0) @binding(3) var<storage, read> by_pt: array<f32>;
@group(0) @binding(4) var<storage, read_write> by_z: array<f32>;
@group(0) @binding(5) var<storage, read> dots: array<f32>; // [batches][stride]
@group(0) @binding(6) var<storage, read> sums: array<f32>; // [batches][stride]

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.x + group.y * groups.x;
  let batch = row / params.rows;
  let inside = batch < params.batches;
  let start = row * params.stride;
  var total = 0.0;
  if (inside) {
    for (var i = local; i < params.stride; i += 64u) {
      var value = 0.0;
      let at = start + i;
      if (i < params.columns) {
        let place = batch * params.stride + i;
        if (params.raw == 0u) {
          value = z[at] * by_z[at] + pt[at] * (by_pt[at] - dots[place]);
        } else {
          value = by_z[at];
          if (sums[place] > 0.0) {
            value += (by_pt[at] - sign(z[at]) * dots[place]) / sums[place];
          }
        }
      }
      by_z[at] = value;
      total += value;
    }
  }
  total = sum_over_workgroup(total, local);
  if (inside && params.raw == 0u) {
    for (var i = local; i < params.columns; i += 64u) {
      by_z[start + i] -= z[start + i] * total;
    }
  }
}
