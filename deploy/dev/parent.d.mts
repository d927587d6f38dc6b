// The types of parent.mjs, which must stay plain JavaScript.
export function boundToParent(
  command: string,
  args: readonly string[],
  signal: NodeJS.Signals,
): [command: string, args: string[]]
