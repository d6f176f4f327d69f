/**
 * Which scenes training may see.
 *
 * @module
 */

/**
 * The first seed that is kept from training, which draws its scenes from seeds below; the demo,
 * evaluation and tests draw theirs from here up to 2³² − 1.
 */
export const firstUnseenSeed = 2 ** 31;
