// out[j][i] = system[i][j]: the systems' matrices transposed, in place of the other systems'
// matrices; what lies right of them stays. One invocation per entry.

struct Params {
  rows: u32, // of one system
  width: u32,
  batches: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> system: array<f32>; // [batches][rows][width]
@group(0) @binding(2) var<storage, read_write> out: array<f32>; // [batches][rows][width]

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = (group.x + group.y * groups.x) * 64u + local;
  let size = params.rows * params.rows;
  let batch = id / size;
  if (batch >= params.batches) {
    return;
  }
  let i = (id % size) / params.rows;
  let j = id % params.rows;
  let start = batch * params.rows * params.width;
  out[start + i * params.width + j] = system[start + j * params.width + i];
}
