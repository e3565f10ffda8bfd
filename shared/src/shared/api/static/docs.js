"use strict";

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "none",
  filter: true,
  // A refusal would have the browser ask for a password of its own; what is sent stands under "Authorize".
  requestInterceptor: (request) => Object.assign(request, { credentials: "omit" }),
  // It would ask a server of Swagger's.
  validatorUrl: null,
});
