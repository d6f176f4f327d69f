// first[0] = the smallest index of an element that is NaN or infinite; 0xffffffff where there is
// none. An invocation looks at one word. Bits are tested, since a compiler may take it that there is
// no NaN.

// Written in front of this, of the elements: `per_word`, and the exponents of a word's first and
// last one, all ones where it isn't finite, as `low` and `high`.

struct Params {
  elements: u32,
  base: u32, // index of the first element
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read_write> first: array<atomic<u32>>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let word = (group.x + group.y * groups.x) * 64u + local;
  let index = word * per_word;
  if (index >= params.elements) {
    return;
  }
  let value = words[word];
  if ((value & low) == low) {
    atomicMin(&first[0], params.base + index);
  }
  // The last word of an odd number of float16 elements is half empty.
  let last = index + per_word - 1u;
  if ((value & high) == high && last < params.elements) {
    atomicMin(&first[0], params.base + last);
  }
}
