// query[i][d] = the solution, which elimination left in the right part of the augmented system.

struct Params {
  rows: u32,
  channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> system: array<f32>;
@group(0) @binding(2) var<storage, read_write> query: array<f32>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let at = (group.x + group.y * groups.x) * 256u + local;
  if (at >= params.rows * params.channels) {
    return;
  }
  let row = at / params.channels;
  query[at] = system[row * (params.rows + params.channels) + params.rows + at % params.channels];
}
