// What the kernels over tiles and regions of units read, and where they lie in each other.

// Pixels along one axis between the same two samples; see axis_runs.ts.
struct Run {
  start: u32,
  count: u32,
  low: u32,
  high: u32,
  offset: f32,
  step: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Four masks to a vector.
@group(0) @binding(1) var<storage, read> masks: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> probabilities: array<vec4<f32>>;
// Those of columns, then those of rows.
@group(0) @binding(3) var<storage, read> runs: array<Run>;

// Where the list of the region around starts: a count, which may exceed the capacity, then as many
// classes as fit.
fn parent_list(x: u32, y: u32) -> u32 {
  let parent = (y / params.parent_side) * params.parents_x + x / params.parent_side;
  return parent * (params.parent_capacity + 1u);
}

