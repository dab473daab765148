// The tokens of WMT's mteval-v13a.pl, sacreBLEU's default: punctuation stands alone, numbers stay whole.

/** The 13a tokens of a line. */
export function tokenize13a(line: string): string[] {
  const plain = line.replaceAll("<skipped>", "").replaceAll("-\n", "").replaceAll("\n", " ")
    .replaceAll("&quot;", '"').replaceAll("&amp;", "&").replaceAll("&lt;", "<").replaceAll("&gt;", ">");
  return ` ${plain} `
    .replace(/([{-~[-` -&(-+:-@/])/g, " $1 ")
    .replace(/([^0-9])([.,])/g, "$1 $2 ")
    .replace(/([.,])([^0-9])/g, " $1 $2")
    .replace(/([0-9])(-)/g, "$1 $2 ")
    .split(/\s+/).filter((token) => token !== "");
}
