// pooled[n][d] = (sum of partials[s][n][d] over s) / (area[n] + epsilon).

struct Params {
  masks: u32,
  channels: u32,
  splits: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read> area: array<f32>;
@group(0) @binding(3) var<storage, read_write> pooled: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let at = (group.x + group.y * groups.x) * 256u + local;
  let size = params.masks * params.channels;
  if (at >= size) {
    return;
  }
  var sum = 0.0;
  for (var s = 0u; s < params.splits; s++) {
    sum += partials[s * size + at];
  }
  pooled[at] = sum / (area[at / params.channels] + params.epsilon);
}
