// first[0] = the smallest index of an element that is NaN or infinite; 0xffffffff where there is
// none. Bits are tested, since a compiler may take it that there is no NaN. Two float16 elements
// share a word. One invocation handles `run` words in a row.

struct Params {
  elements: u32,
  words: u32,
  half_floats: u32,
  run: u32,
  base: u32, // index of the first element
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read_write> first: array<atomic<u32>>;

fn report(index: u32) {
  if (index < params.elements) {
    atomicMin(&first[0], params.base + index);
  }
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let begin = ((group.x + group.y * groups.x) * 64u + local) * params.run;
  let end = min(begin + params.run, params.words);
  for (var at = begin; at < end; at++) {
    let word = words[at];
    if (params.half_floats == 1u) {
      if ((word & 0x7c00u) == 0x7c00u) {
        report(2u * at);
      }
      if ((word & 0x7c000000u) == 0x7c000000u) {
        report(2u * at + 1u);
      }
    } else if ((word & 0x7f800000u) == 0x7f800000u) {
      report(at);
    }
  }
}
