"use strict";
// Shows one class at a time. Without this script, all of them are shown.
(() => {
  const classes = JSON.parse(document.getElementById("class-data").textContent);
  const picker = document.getElementById("picker");
  const choice = document.getElementById("class-choice");
  const facts = document.getElementById("class-facts");
  const cards = new Map(
    Array.from(document.querySelectorAll(".card"), (card) => [card.id, card]),
  );
  const labels = [
    ["training", "training samples"],
    ["test", "test samples"],
    ["generated", "generated samples"],
    ["added", "added samples"],
    ["frechet", "Fréchet distance, generated samples"],
    ["baseline", "Fréchet distance, training samples"],
  ];

  const format = (value) => {
    if (value === null) return "–";
    return Number.isInteger(value)
      ? value.toLocaleString("en-US")
      : String(Number(value.toPrecision(4)));
  };

  const show = () => {
    const index = Number(choice.value);
    facts.replaceChildren();
    for (const [key, label] of labels) {
      if (!(key in classes[index])) continue;
      const row = document.createElement("div");
      const term = document.createElement("dt");
      const value = document.createElement("dd");
      term.textContent = label;
      value.textContent = format(classes[index][key]);
      row.append(term, value);
      facts.append(row);
    }
    for (const card of cards.values()) card.classList.add("unchosen");
    const card = cards.get(`class-${index}`);
    if (card) card.classList.remove("unchosen");
    document.getElementById("no-image").hidden = Boolean(card);
  };

  classes.forEach((one, index) => {
    choice.append(new Option(one.name, String(index)));
  });
  choice.addEventListener("change", show);
  picker.hidden = false;
  show();
})();
