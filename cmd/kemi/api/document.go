package api

import (
	"io"
	"net/http"

	"kemi.dev/kemi/docs"
)

// document gives what stands on every topic, for those who subscribe.
func document(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/vnd.aai.asyncapi+yaml;version=3.0.0")
	_, _ = io.WriteString(w, docs.EventsAsyncAPI) // The caller has left; there is nobody to tell.
}
