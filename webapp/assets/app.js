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

// Shows what is said in the place of the results.
const complain = (text) => {
  const sentence = document.createElement("p");
  sentence.textContent = text;
  results.replaceChildren(sentence);
  announcement.textContent = text;
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
    const mistake = page.querySelector("#mistake");
    const found = page.querySelector("#results");
    if (found && !mistake) {
      form.querySelector("[aria-invalid]")?.removeAttribute("aria-invalid");
      results.replaceChildren(...found.childNodes);
      announcement.textContent = results.querySelector("h2").textContent;
      history.replaceState(null, "", wanted);
    } else {
      // The page of an error says what is wrong.
      complain(mistake?.textContent ?? "The server did not understand this search.");
    }
  } catch (error) {
    if (signal.aborted) return;
    complain("The server cannot be reached. Please try again in a moment.");
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
};
form.addEventListener("submit", stop);
addEventListener("pagehide", stop);
