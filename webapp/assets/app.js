// The list of employees follows its form while that is filled in. Without this file, its button does the same.

// How long nobody may have typed before the server is asked, in milliseconds.
const PAUSE = 200;

const form = document.querySelector("form[role=search]");
const results = document.querySelector("#results");
const announcement = document.querySelector("#announcement");

let timer;
let request;

// The address of the list that the form describes.
const address = () => {
  const filled = [...new FormData(form)].filter(([, value]) => value.trim() !== "");
  const query = new URLSearchParams(filled).toString();
  return query ? `${form.action}?${query}` : form.action;
};

// What the results that are shown belong to.
let shown = address();

// Says in the place of the results why there are none, below a heading: it is the section's name.
const complain = (title, text) => {
  const heading = results.querySelector("#found");
  heading.textContent = title;
  const sentence = document.createElement("p");
  sentence.id = "mistake";
  sentence.textContent = text;
  results.replaceChildren(heading, sentence);
  announcement.textContent = text;
};

// The same of a page without a list. nginx's own has no sentence for us: the application is busy, starting or away.
const explain = (page, status) => {
  const title = page.querySelector("#found") ?? page.querySelector("h1");
  const away = "The server is busy, or away for a moment. Please try again.";
  const text = status === 400 ? "The server did not understand this search." : away;
  complain(title?.textContent ?? "No answer", page.querySelector("#mistake")?.textContent ?? text);
};

const update = async () => {
  // Whoever types on wants no answer to what stood there before.
  request?.abort();
  request = new AbortController();
  const { signal } = request;
  const wanted = address();
  results.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(wanted, { signal });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.querySelector("#results");
    if (found && !page.querySelector("#mistake")) {
      form.querySelector("[aria-invalid]")?.removeAttribute("aria-invalid");
      results.replaceChildren(...found.childNodes);
      announcement.textContent = results.querySelector("h2").textContent;
      history.replaceState(null, "", wanted);
      shown = wanted;
    } else {
      explain(page, answer.status);
    }
  } catch (error) {
    if (signal.aborted) return;
    complain("No answer", "The server cannot be reached. Please try again in a moment.");
  }
  results.removeAttribute("aria-busy");
};

form.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(update, PAUSE);
});

// The button leads to a page of its own, and so does a link: what is under way must not change the address any more.
const stop = () => {
  clearTimeout(timer);
  request?.abort();
  results.removeAttribute("aria-busy");
};
form.addEventListener("submit", stop);
addEventListener("pagehide", stop);

// A page that the browser has kept comes back with its form as it was left, maybe before the list had followed.
addEventListener("pageshow", (event) => {
  if (event.persisted && address() !== shown) update();
});
