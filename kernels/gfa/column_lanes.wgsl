// What the kernels that sum columns share: a workgroup takes 256 rows (a chunk) of 16 columns of a
// batch, 16 invocations (lanes) per column. It leaves what it found in column_merge.wgsl's input.

struct Params {
  rows: u32, // of one batch
  columns: u32,
  stride: u32,
  batches: u32,
  chunks: u32, // here
  first_chunk: u32,
  all_chunks: u32,
  raw: u32,
}

struct Lane {
  column: u32,
  first: u32, // row; every sixteenth from here is the lane's
  end: u32,
  inside: bool,
  writes: bool, // the column's result, to the place
  place: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

var<workgroup> lane_values: array<f32, 256>; // [16 lanes][16 columns]

fn lane_of(id: u32, local: u32) -> Lane {
  let tiles = (params.columns + 15u) / 16u;
  let chunk = id % params.chunks;
  let batch = id / (params.chunks * tiles);
  var lane: Lane;
  lane.column = ((id / params.chunks) % tiles) * 16u + local % 16u;
  lane.first = batch * params.rows + chunk * 256u + local / 16u;
  lane.end = batch * params.rows + min((chunk + 1u) * 256u, params.rows);
  lane.inside = batch < params.batches && lane.column < params.columns;
  lane.writes = lane.inside && local < 16u;
  lane.place = (batch * params.all_chunks + params.first_chunk + chunk) * params.stride + lane.column;
  return lane;
}

fn sum_over_lanes(value: f32, local: u32) -> f32 {
  lane_values[local] = value;
  workgroupBarrier();
  for (var half = 128u; half >= 16u; half /= 2u) {
    if (local < half) {
      lane_values[local] += lane_values[local + half];
    }
    workgroupBarrier();
  }
  let sum = lane_values[local % 16u];
  workgroupBarrier();
  return sum;
}

fn max_over_lanes(value: f32, local: u32) -> f32 {
  lane_values[local] = value;
  workgroupBarrier();
  for (var half = 128u; half >= 16u; half /= 2u) {
    if (local < half) {
      lane_values[local] = max(lane_values[local], lane_values[local + half]);
    }
    workgroupBarrier();
  }
  let largest = lane_values[local % 16u];
  workgroupBarrier();
  return largest;
}
