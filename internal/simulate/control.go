package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// maxFaultBody bounds the body of a fault request, in octets.
const maxFaultBody = 1024

// Handler serves the fleet's control:
//
//	GET  /devices               every device with its state and faults
//	GET  /devices/{id}          one of them
//	POST /devices/{id}/faults   body "down", "slow 2s", "clear" …; id may be a
//	                            pattern (access-*) or class:switch
//	GET  /stats                 counters
//
// It accepts only requests whose Host is a loopback address or localhost, and
// no changes from pages of other origins, because anybody's web page can reach
// a loopback port through the visitor's browser.
func (f *Fleet) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /devices", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, f.Views())
	})
	mux.HandleFunc("GET /devices/{id}", func(w http.ResponseWriter, r *http.Request) {
		v, ok := f.View(r.PathValue("id"))
		if !ok {
			refuse(w, http.StatusNotFound, fmt.Errorf("no such device: %q: GET /devices lists them all", r.PathValue("id")))
			return
		}
		writeJSON(w, http.StatusOK, v)
	})
	mux.HandleFunc("POST /devices/{id}/faults", f.handleFault)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, f.Stats())
	})
	guarded := http.NewCrossOriginProtection()
	guarded.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, errors.New("a page of another origin must not change the fleet: send the request from a command line"))
	}))
	inner := guarded.Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localHost(r.Host) {
			refuse(w, http.StatusForbidden, fmt.Errorf("host %q is not this machine's loopback: use http://127.0.0.1 or http://localhost", r.Host))
			return
		}
		inner.ServeHTTP(w, r)
	})
}

func (f *Fleet) handleFault(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFaultBody))
	if err != nil {
		if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
			refuse(w, http.StatusRequestEntityTooLarge, fmt.Errorf("body is longer than %d octets: %s", maxFaultBody, faultAdvice))
			return
		}
		refuse(w, http.StatusBadRequest, fmt.Errorf("read body: %w", err))
		return
	}
	fault, err := ParseFault(string(body))
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	ids, err := f.FaultAll(r.PathValue("id"), fault)
	switch {
	case errors.Is(err, ErrNoDevice):
		refuse(w, http.StatusNotFound, err)
	case err != nil && ids == nil:
		refuse(w, http.StatusUnprocessableEntity, err)
	case err != nil: // struck, but a service could not open its port again
		refuse(w, http.StatusInternalServerError, err)
	default:
		views := make([]View, 0, len(ids))
		for _, id := range ids {
			v, _ := f.View(id)
			views = append(views, v)
		}
		writeJSON(w, http.StatusOK, views)
	}
}

// localHost tells whether a Host header names this machine's loopback.
func localHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}

func refuse(w http.ResponseWriter, code int, err error) {
	writeJSON(w, code, map[string]string{"error": err.Error()})
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // the client has gone; nobody is left to tell
}
