// Shows the API's description with Swagger UI.
if (matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.classList.add("dark-mode");
SwaggerUIBundle({ url: "/api/openapi.json", dom_id: "#api", deepLinking: true });
