// query[n] = share * clip[n] + (1 - share) * query[n], where the area of mask n exceeds `empty`.
// One workgroup per row.

struct Params {
  rows: u32,
  columns: u32,
  share: f32,
  empty: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> clip: array<f32>;
@group(0) @binding(2) var<storage, read> areas: array<f32>;
@group(0) @binding(3) var<storage, read_write> query: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows || areas[row] <= params.empty) {
    return;
  }
  let first = row * params.columns;
  for (var i = first + local; i < first + params.columns; i += 64u) {
    query[i] = params.share * clip[i] + (1.0 - params.share) * query[i];
  }
}
