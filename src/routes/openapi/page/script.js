  "use strict";
  const byId = (id) => document.getElementById(id);

  /** An element with attributes and children; text is only ever text. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "on") Object.entries(value).forEach(([event, act]) => element.addEventListener(event, act));
      else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.flat().filter((child) => child !== undefined && child !== ""));
    return element;
  }

  /** The little of CommonMark that descriptions use: paragraphs, `code`, **strong**. */
  function prose(text = "") {
    return text.split(/\n\n+/).filter(Boolean).map((paragraph) => make("p", {}, inline(paragraph)));
  }
  function inline(text = "") {
    return text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
      if (part.startsWith("`")) return make("code", {}, part.slice(1, -1));
      if (part.startsWith("**")) return make("strong", {}, part.slice(2, -2));
      return part;
    });
  }

  const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

  let api;
  /** Follows a reference within the document. */
  function resolve(part) {
    if (!part?.$ref) return part;
    const target = part.$ref.slice(2).split("/").reduce((at, key) => at?.[key.replaceAll("~1", "/")], api);
    return { ...target, ...(part.description && { description: part.description }) };
  }

  /** What a schema is, in a few words. */
  function kind(schema) {
    const choice = schema?.oneOf ?? schema?.anyOf?.filter((part) => part.type || part.$ref);
    if (schema?.$ref) return schema.$ref.split("/").pop();
    if (choice?.length) return choice.map(kind).join(" | ");
    if (schema?.const !== undefined) return JSON.stringify(schema.const);
    if (schema?.enum) return schema.enum.map((word) => JSON.stringify(word)).join(" | ");
    if (schema?.type === "array") return `[${kind(schema.items)}]`;
    const rules = ["format", "pattern", "minLength", "maxLength", "minimum", "maximum", "maxItems", "default"]
      .filter((rule) => schema?.[rule] !== undefined && !(rule === "format" && /^int/.test(schema.format)))
      .map((rule) => `${rule} ${schema[rule]}`);
    return [[schema?.type ?? "any"].flat().join(" | "), ...rules].join(", ");
  }

  /** All fields of an object, those of its parts included. */
  function fieldsOf(schema) {
    const object = resolve(schema) ?? {};
    const parts = (object.allOf ?? []).map(fieldsOf);
    return [object, ...parts].reduce(
      (all, part) => ({
        properties: { ...all.properties, ...part.properties },
        required: [...all.required, ...(part.required ?? [])],
      }),
      { properties: {}, required: [] },
    );
  }

  /** The object that a schema is, or lists, or may be instead of null. */
  function nested(schema) {
    if (schema?.items) return nested(schema.items);
    const choice = (schema?.oneOf ?? []).find((part) => part.$ref);
    const target = choice ?? schema;
    return target && Object.keys(fieldsOf(target).properties).length ? target : undefined;
  }

  /** The fields of a schema as a list; those of objects in it open on demand. */
  function fields(schema) {
    const { properties, required } = fieldsOf(schema);
    return make("ul", { class: "fields" }, Object.entries(properties).map(([name, field]) => {
      const target = nested(field);
      const says = resolve(field)?.description ?? "";
      const line = [
        make("code", {}, name), " ", make("span", { class: "soft" }, kind(field)),
        required.includes(name) ? "" : make("span", { class: "soft" }, " · optional"), " ", ...inline(says),
      ];
      if (!target) return make("li", {}, line);
      const details = make("details", { on: { toggle: () => details.childElementCount > 1 || details.append(fields(target)) } },
        make("summary", {}, line));
      return make("li", {}, details);
    }));
  }

  function shape(schema) {
    const target = nested(schema);
    const head = make("p", { class: "soft" }, kind(schema));
    return target ? [head, fields(target)] : [head];
  }

  function examplesOf(content) {
    if (content.example !== undefined) return [["", content.example]];
    return Object.entries(content.examples ?? {}).map(([name, example]) => [name, resolve(example).value]);
  }

  function bodies(content = {}) {
    return Object.entries(content).flatMap(([type, body]) => [
      make("p", {}, make("code", {}, type)), ...shape(body.schema),
      ...examplesOf(body).map(([name, value]) => make("pre", { title: name }, pretty(value))),
    ]);
  }

  function answers(operation) {
    return Object.entries(operation.responses).map(([status, reference]) => {
      const response = resolve(reference);
      const headers = Object.entries(response.headers ?? {}).map(([name, header]) =>
        make("li", {}, make("code", {}, name), " ", ...inline(resolve(header).description)));
      return make("details", {},
        make("summary", {}, make("strong", {}, status), " ", ...inline(response.description.split("\n")[0])),
        ...prose(response.description), ...bodies(response.content),
        make("details", {}, make("summary", { class: "soft" }, "Headers"), make("ul", {}, headers)));
    });
  }

  function parameters(operation) {
    if (!operation.parameters?.length) return [];
    return [make("h4", {}, "Parameters"), make("table", {}, operation.parameters.map(resolve).map((it) =>
      make("tr", {}, make("td", {}, make("code", {}, it.name), make("span", { class: "soft" }, ` in ${it.in}`)),
        make("td", { class: "soft" }, kind(it.schema), it.required ? "" : " · optional"),
        make("td", {}, inline(it.description)))))];
  }

  /** Sends a request as the form says, and shows what comes back. */
  async function send(form, path, verb, operation, output) {
    const url = new URL(path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(form.elements[`path.${name}`].value)), location.origin);
    const headers = {};
    for (const it of operation.parameters ?? []) {
      const value = form.elements[`${it.in}.${it.name}`].value;
      if (value && it.in === "query") url.searchParams.set(it.name, value);
      if (value && it.in === "header") headers[it.name] = value;
    }
    const token = byId("token").value.trim();
    if (token) headers.Authorization = `Bearer ${token}`;
    let body;
    if (form.elements.json) [body, headers["Content-Type"]] = [form.elements.json.value, "application/json"];
    if (form.elements.file) {
      body = new FormData();
      for (const file of form.elements.file.files) body.append("file", file);
    }
    output.textContent = "…";
    try {
      const response = await fetch(url, { method: verb.toUpperCase(), headers, body });
      const type = response.headers.get("content-type") ?? "";
      const said = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      if (type.startsWith("image/")) {
        const image = make("img", { alt: "", src: URL.createObjectURL(await response.blob()) });
        output.replaceChildren(`${response.status}\n${said}\n\n`, image);
        return;
      }
      const text = await response.text();
      let shown = text;
      try {
        const value = JSON.parse(text);
        if (value.access_token) byId("token").value = value.access_token;
        shown = pretty(value);
      } catch { /* no JSON */ }
      output.textContent = `${response.status} ${response.statusText}\n${said}\n\n${shown}`;
    } catch (error) {
      output.textContent = `No answer: ${error.message}`;
    }
  }

  function attempt(path, verb, operation) {
    const output = make("pre", { "aria-live": "polite", hidden: true });
    const inputs = (operation.parameters ?? []).map((it) =>
      make("label", {}, `${it.name} `, make("input", {
        name: `${it.in}.${it.name}`, required: it.required, size: 40, autocomplete: "off",
        value: it.required ? it.example : undefined, placeholder: String(it.example ?? ""),
      })));
    const content = operation.requestBody?.content ?? {};
    if (content["application/json"]) {
      const area = make("textarea", { name: "json", "aria-label": "Body", spellcheck: "false" });
      area.value = pretty(content["application/json"].example ?? {});
      inputs.push(area);
    } else if (content["multipart/form-data"]) {
      inputs.push(make("label", {}, "file ", make("input", { type: "file", name: "file", multiple: true })));
    }
    const form = make("form", {
      class: "try",
      on: { submit: (event) => { event.preventDefault(); output.hidden = false; send(form, path, verb, operation, output); } },
    }, make("h4", {}, "Try it"), inputs, make("button", {}, "Send"), output);
    return form;
  }

  function route(path, verb, operation) {
    const content = make("div");
    const fill = () => {
      if (content.childElementCount) return;
      const input = operation.requestBody;
      content.append(
        ...prose(operation.description),
        make("p", { class: "soft" }, operation.security?.length ? "Needs an access token. " : "Public. ",
          operation["x-rate-limit-class"] ? `Rate limit class: ${operation["x-rate-limit-class"]}.` : "No rate limit."),
        ...parameters(operation),
        ...(input ? [make("h4", {}, "Body"), ...prose(input.description), ...bodies(input.content)] : []),
        make("h4", {}, "Answers"), ...answers(operation), attempt(path, verb, operation));
    };
    return make("details", {
      class: "route", id: operation.operationId, on: { toggle: fill },
      "data-words": `${verb} ${path} ${operation.summary} ${operation.description} ${operation.operationId}`.toLowerCase(),
    }, make("summary", {}, make("span", { class: `verb ${verb}` }, verb.toUpperCase()), make("span", { class: "path" }, path),
      " ", make("span", { class: "soft" }, operation.summary)), content);
  }

  function show() {
    byId("version").textContent = api.info.version;
    const main = byId("main");
    main.replaceChildren(make("p", {}, make("strong", {}, api.info.summary)), ...prose(api.info.description));
    const routes = Object.entries(api.paths).flatMap(([path, verbs]) =>
      Object.entries(verbs).map(([verb, operation]) => [path, verb, operation]));
    for (const tag of api.tags) {
      byId("chapters").append(make("a", { href: `#chapter-${tag.name}` }, tag.name));
      main.append(make("section", {}, make("h2", { id: `chapter-${tag.name}` }, tag.name), ...prose(tag.description),
        routes.filter(([, , operation]) => operation.tags.includes(tag.name)).map((it) => route(...it))));
    }
    const schemas = Object.entries(api.components.schemas).map(([name, schema]) =>
      make("details", { class: "route", "data-words": name.toLowerCase() }, make("summary", {}, make("code", {}, name), " ",
        make("span", { class: "soft" }, schema.description ?? "")), make("div", {}, ...shape(schema))));
    byId("chapters").append(make("a", { href: "#schemas" }, "Schemas"));
    main.append(make("section", {}, make("h2", { id: "schemas" }, "Schemas"), schemas));
  }

  function find() {
    const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const entry of document.querySelectorAll("[data-words]")) {
      entry.hidden = !words.every((word) => entry.dataset.words.includes(word));
    }
    for (const section of document.querySelectorAll("main section")) {
      section.hidden = !section.querySelector("[data-words]:not([hidden])");
    }
  }

  (async () => {
    try {
      api = await (await fetch("/openapi.json")).json();
      show();
      byId("find").addEventListener("input", find);
      const wanted = location.hash && byId(location.hash.slice(1));
      if (wanted) { wanted.open = true; wanted.scrollIntoView(); }
    } catch (error) {
      byId("main").append(make("p", {}, `The document did not arrive: ${error.message}`));
    }
  })();
