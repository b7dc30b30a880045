// Says what can stand at a place of a pipeline's text: keys, operators, or parameters of the operator around it.

const SECTIONS = { inputs: "input", stages: "stage", outputs: "output", checks: "check" };

/** Return `{typed, choices: [[name, told]], ending, line, column}` for a caret, or null where nothing is known. */
export function offers(text, caret, words) {
  const before = text.slice(0, caret).split("\n");
  const current = before.at(-1);
  const where = { line: before.length - 1, column: current.length };
  if (/#/.test(current.replace(/"[^"]*"|'[^']*'/g, ""))) return null;
  const path = around(before);
  const use = current.match(/(?:^|[\s{,])use:\s*([\w]*)$/);
  if (use) return { ...where, typed: use[1], ending: "", choices: operators(path, current, words) };
  const inParams = current.match(/params:\s*\{(?:[^}]*,)?\s*(\w*)$/);
  const operator = inParams || path.at(-1) === "params" ? operatorAround(before, current, words) : null;
  const key = inParams ?? current.match(/^\s*(?:- )?(\w*)$/) ?? current.match(/[{,]\s*(\w*)$/);
  if (!key) return null;
  if (operator) return { ...where, typed: key[1], ending: ": ", choices: Object.entries(operator.params) };
  const part = partOf(path, current);
  return part ? { ...where, typed: key[1], ending: ": ", choices: Object.entries(words.keys[part]) } : null;
}

/** The keys that the last line stands under, outermost first; an item of a list counts as standing under the list's key. */
function around(lines) {
  const path = [];
  let depth = indentOf(lines.at(-1));
  for (const line of lines.slice(0, -1).reverse()) {
    const found = line.match(/^(\s*(?:- )?)([\w]+):/);
    if (!found || line.trim().startsWith("#")) continue;
    const dash = found[1].trim() === "-";
    const column = found[1].length;
    if (column < depth) {
      path.unshift(found[2]);
      depth = dash ? column - 2 : column;
    } else if (dash && column - 2 < depth) {
      depth = column - 2;
    }
  }
  return path;
}

function indentOf(line) {
  return line.match(/^\s*(?:- )?/)[0].length;
}

function partOf(path, current) {
  if (path.includes("operators") || /operators:\s*\[/.test(current) || /^\s*- /.test(current)) return "step";
  if (!path.length) return /\{/.test(current) ? null : "pipeline";
  const section = SECTIONS[path[0]];
  return section && (path.length === 2 || (path.length === 1 && /\{/.test(current))) ? section : null;
}

function operators(path, current, words) {
  const part = partOf(path, current);
  const fitting = Object.entries(words.operators).filter(([, told]) => told.of === part || !part);
  return fitting.map(([name, told]) => [name, told.is]);
}

/** The operator whose parameters are written: on this line, or above it in the same step or stage. */
function operatorAround(lines, current, words) {
  const here = current.match(/use:\s*(\w+)/);
  if (here) return words.operators[here[1]] ?? null;
  const depth = indentOf(current);
  for (const line of lines.slice(0, -1).reverse()) {
    const found = line.match(/^(\s*(?:- )?)use:\s*(\w+)/);
    if (found && found[1].length <= depth) return words.operators[found[2]] ?? null;
    if (/^\s*\w+:\s*$/.test(line) && indentOf(line) === 0) return null;
  }
  return null;
}
