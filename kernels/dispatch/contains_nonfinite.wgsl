// found[0] = 1 where an element is NaN or infinite. Which one is for first_nonfinite.wgsl to say: a
// software adapter spends time on branches that it doesn't take, and as much again on clamped
// indices.
//
// An invocation looks at `run` cells, each 64 behind the last, or at none where they don't all
// exist. A Cell is four words, which a software adapter loads at the price of one, or one word.

// Written in front of this: Cell, run, and what first_nonfinite.wgsl has.

struct Params {
  cells: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<Cell>;
@group(0) @binding(2) var<storage, read_write> found: array<u32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let begin = (group.x + group.y * groups.x) * 64u * run + local;
  if (begin + 64u * (run - 1u) >= params.cells) {
    return;
  }
  var most_low = Cell();
  var most_high = Cell();
  for (var i = 0u; i < run; i++) {
    let value = words[begin + 64u * i];
    most_low = max(most_low, value & Cell(low));
    if (per_word > 1u) {
      most_high = max(most_high, value & Cell(high));
    }
  }
  if (any(most_low == Cell(low)) || any(most_high == Cell(high))) {
    found[0] = 1u;
  }
}
