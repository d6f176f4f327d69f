// Per column i and chunk of rows: sum over n of a[n][i] * b[n][i], beside a largest logit of 0 so that
// column_merge.wgsl adds them up. Begins with column_lanes.wgsl.

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> largest_of: array<f32>; // [batches][all_chunks][stride]
@group(0) @binding(4) var<storage, read_write> sum_of: array<f32>; // [batches][all_chunks][stride]

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let lane = lane_of(group.x + group.y * groups.x, local);
  var sum = 0.0;
  if (lane.inside) {
    for (var n = lane.first; n < lane.end; n += 16u) {
      let at = n * params.stride + lane.column;
      sum += a[at] * b[at];
    }
  }
  sum = sum_over_lanes(sum, local);
  if (lane.writes) {
    largest_of[lane.place] = 0.0;
    sum_of[lane.place] = sum;
  }
}
