// clip[n][d] = omega * (sum of partials over splits) + (1 - omega) * own, where own is F_C, the
// right part of [Z | F_C].

struct Params {
  rows: u32,
  channels: u32,
  splits: u32,
  own_offset: u32,
  own_stride: u32,
  omega: f32,
  one_minus_omega: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read> own: array<f32>;
@group(0) @binding(3) var<storage, read_write> clip: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let at = (group.x + group.y * groups.x) * 256u + local;
  let size = params.rows * params.channels;
  if (at >= size) {
    return;
  }
  var sum = 0.0;
  for (var s = 0u; s < params.splits; s++) {
    sum += partials[s * size + at];
  }
  let row = at / params.channels;
  let mine = own[params.own_offset + row * params.own_stride + at % params.channels];
  clip[at] = params.omega * sum + params.one_minus_omega * mine;
}
