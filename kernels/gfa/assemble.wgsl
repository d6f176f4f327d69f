// From t = P [Z | F_C], the augmented system [I - omega^2 P Z | (1 - omega) (F_Q + omega P F_C)].
//
// The diagonal is computed as (1 - omega^2) + omega^2 * (sum of the row's other entries of P Z),
// which is the same since the rows of P Z sum to 1, and keeps its digits as omega approaches 1.
// One workgroup per row.

struct Params {
  queries: u32,
  channels: u32,
  splits: u32,
  omega: f32,
  omega_squared: f32,
  one_minus_omega: f32,
  one_minus_omega_squared: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>; // [splits][queries][queries+channels]
@group(0) @binding(2) var<storage, read> query: array<f32>;
@group(0) @binding(3) var<storage, read_write> system: array<f32>; // [queries][queries+channels]

var<workgroup> shared_values: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.x + group.y * groups.x;
  let inside = row < params.queries;
  let width = params.queries + params.channels;
  let size = params.queries * width;
  var others = 0.0;
  if (inside) {
    for (var j = local; j < width; j += 64u) {
      var t = 0.0;
      for (var s = 0u; s < params.splits; s++) {
        t += partials[s * size + row * width + j];
      }
      if (j < params.queries) {
        if (j != row) {
          system[row * width + j] = -params.omega_squared * t;
          others += t;
        }
      } else {
        let own = query[row * params.channels + j - params.queries];
        system[row * width + j] = params.one_minus_omega * (own + params.omega * t);
      }
    }
  }
  shared_values[local] = others;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (local < half) {
      shared_values[local] += shared_values[local + half];
    }
    workgroupBarrier();
  }
  if (inside && local == 0u) {
    system[row * width + row] = params.one_minus_omega_squared +
      params.omega_squared * shared_values[0];
  }
}
