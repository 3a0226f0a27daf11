// Shows one of the two languages. The address remembers it: #lang=ja, or #vae&lang=ja at an anchor.
(function () {
  "use strict";
  var root = document.documentElement;
  var pattern = /&?lang=(en|ja)$/;

  function asked() {
    var match = pattern.exec(location.hash);
    return match ? match[1] : null;
  }

  function place() {
    return location.hash.slice(1).replace(pattern, "");
  }

  function show(language) {
    root.dataset.lang = root.lang = language;
    document.title = root.dataset["title" + (language === "ja" ? "Ja" : "En")];
    document.querySelectorAll("[data-switch]").forEach(function (button) {
      button.setAttribute("aria-pressed", String(button.dataset.switch === language));
    });
    document.querySelectorAll("img[data-en]").forEach(function (image) {
      image.alt = image.dataset[language];
      image.lang = language;
    });
  }

  function remember() {
    var at = place();
    history.replaceState(null, "", "#" + (at ? at + "&" : "") + "lang=" + root.dataset.lang);
  }

  function go() {
    var target = document.getElementById(decodeURIComponent(place()));
    if (target) {
      target.scrollIntoView();
    }
  }

  // At once, before anything is drawn.
  show(asked() || (/^ja\b/.test(navigator.language) ? "ja" : "en"));

  window.addEventListener("hashchange", function () {
    var language = asked();
    if (language) {
      show(language);
      go();
    } else {
      remember();
    }
  });

  document.addEventListener("DOMContentLoaded", function () {
    show(root.dataset.lang);
    if (asked()) {
      go();
    }
    document.querySelectorAll("[data-switch]").forEach(function (button) {
      button.addEventListener("click", function () {
        // The paragraphs change their heights: keep what is being read where it is.
        var read = document.elementFromPoint(root.clientWidth / 2, root.clientHeight / 3);
        read = read && read.closest("[id]");
        var top = read ? read.getBoundingClientRect().top : 0;
        show(button.dataset.switch);
        if (read) {
          window.scrollBy(0, read.getBoundingClientRect().top - top);
        }
        remember();
      });
    });
  });
})();
