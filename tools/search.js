// How this book's search reads a query, orders what it finds, and quotes it. Sphinx takes this file in by
// html_search_scorer, and puts it after its stop words and its stemmer.

// Words of a question that say nothing about its answer. A page must have all other words.
stopwords.push(
  ..."vs versus difference differences between compare compared comparison better best".split(" "),
  ..."what which why how when where who does do did can could should must i my me you your".split(" "),
  ..."an than from about explain explained".split(" "),
);
const HAN_FILLER =
  /有什么|什么是|是什么|什么|怎么|怎样|如何|为什么|为何|哪个|哪种|区别|差别|不同|关系|设置|选择|还是|[的和与跟或吗呢]/gu;

let asked = new Set(); // the words of the present query, as the index has them
let inChinese = false;

const wordsOf = (text) =>
  text.split(/[^\p{Letter}\p{Number}_]+/u).filter((word) => word && !stopwords.includes(word.toLowerCase()));
const stemsOf = (text) => {
  const stemmer = new Stemmer();
  return new Set(wordsOf(text).map((word) => stemmer.stemWord(word.toLowerCase())));
};

// Chinese has no spaces: what is written in Chinese is a word of its own, without the question around it.
var splitQuery = (query) => {
  const spaced = query.replace(/\p{Script=Han}+/gu, (run) => ` ${run.replace(HAN_FILLER, " ")} `);
  inChinese = /\p{Script=Han}/u.test(query);
  asked = stemsOf(spaced);
  return wordsOf(spaced);
};

// Lessons answer, so they come first; then the cheat sheet, the evidence, and what only defines or lists.
const PLACES = [
  [/^chapters\/evidence\//, 15],
  [/^chapters\/13/, 25],
  [/^chapters\//, 40],
  [/^cheat_sheet$/, 25],
  [/^intro$/, 10],
  [/^glossary$/, -20],
  [/^(api|bibliography)$/, -40],
];
const placeOf = (page) => {
  if (page === "zh") return inChinese ? 35 : -10;
  return PLACES.find(([pattern]) => pattern.test(page))?.[1] ?? 0;
};
// 1 where a title has the words of the query and no others.
const likeness = (title) => {
  const words = stemsOf(title.replace(/<[^>]*>|\d+\./g, " "));
  const both = [...asked].filter((word) => words.has(word)).length;
  return both / (words.size + asked.size - both || 1);
};

var Scorer = {
  score: ([page, title, , , score]) =>
    // Among equals the earlier chapter.
    score + placeOf(page) + 20 * likeness(title) - (parseInt(page.match(/\/(\d+)_/)?.[1]) || 0) / 100,
  // What follows is Sphinx's own.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};

// A result quotes sentences of the text: of the paragraph or row that has most of the words.
const LONGEST = 240;
const quote = (text, found) => {
  const sentences = text.split(/(?<=[。！？])|(?<=[.!?][)”*]?)\s+(?=[\p{Lu}\p{Script=Han}“(])/u);
  const first = Math.max(sentences.findIndex(found), 0);
  let quoted = sentences[first];
  for (const next of sentences.slice(first + 1)) {
    if (quoted.length + next.length >= LONGEST) break;
    quoted += (/[。！？]$/.test(quoted) ? "" : " ") + next;
  }
  return quoted.length <= LONGEST ? quoted : quoted.slice(0, LONGEST).replace(/\s+\S*$/, "") + " …";
};
const summary = (html, keywords, anchor) => {
  const page = new DOMParser().parseFromString(html, "text/html");
  const target = anchor && page.getElementById(decodeURIComponent(anchor.slice(1)));
  const place =
    (target && (target.matches("dt") ? target.nextElementSibling : target.closest("section"))) ||
    page.querySelector("article");
  if (!place) return null;
  page.querySelectorAll(".headerlink, script, style, .toctree-wrapper").forEach((part) => part.remove());
  // The stem of decay is decai; the book writes warm-up and bfloat16.
  const stems = [...keywords].map((word) => word.toLowerCase().replace(/i$/, "").replace("bf16", "bfloat16"));
  const has = (text) => (stem) => text.toLowerCase().replaceAll("-", "").includes(stem);
  const blocks = [...place.querySelectorAll("p, li, dd, tr")]
    .filter((block) => !block.closest("pre, thead, figure"))
    .filter((block) => block.matches("tr") || !(block.closest("tr") || block.querySelector("p, li, tr")))
    .map((block) => {
      const parts = block.matches("tr") ? [...block.children] : [block];
      const term = block.closest("dl.glossary > dd")?.previousElementSibling;
      const text = parts.map((part) => part.textContent.replace(/\s+/g, " ").trim()).join(" · ");
      const named = term ? `${term.textContent.trim()}: ${text}` : text;
      const hits = stems.filter(has(named)).length;
      // An answer is in bold; a line that is all in italics says what to read before.
      const answer = block.querySelector("strong") && text.startsWith(block.querySelector("strong").textContent.trim());
      const aside = block.querySelector("em")?.textContent.length > 0.8 * text.length;
      const worse = (block.querySelector(".math") ? 0.5 : 0) + (text.length < 40 ? 0.7 : 0) + (aside ? 1.2 : 0);
      return { text: named, rank: hits + (answer ? 0.6 : 0) - worse };
    });
  if (!blocks.length) return null;
  const best = blocks.reduce((a, b) => (b.rank > a.rank ? b : a));
  const shown = document.createElement("p");
  shown.classList.add("context");
  shown.textContent = quote(best.text, (text) => stems.some(has(text)));
  return shown;
};
if (typeof Search !== "undefined") Search.makeSearchSummary = (...page) => summary(...page) ?? "";
