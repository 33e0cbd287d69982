package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

// pageFilters are what lists of pages are narrowed by. state is another word for stage.
const pageFilters = "state stage team target incident person receiver summary since"

// Entry is a line of the ledger as it was stored: a page at one stage.
type Entry struct {
	*event.Page
	// Stored is when the bus took it.
	Stored time.Time `json:"stored"`
	// Unreadable says why the record is no page; there is none then.
	Unreadable string `json:"unreadable,omitempty"`
}

// parsePages reads a filter of pages.
func parsePages(q url.Values, now time.Time) (view.PageFilter, error) {
	stage := q.Get("stage")
	if stage == "" {
		stage = q.Get("state")
	}
	if stage != "" && !slices.Contains(pageStages(), strings.ToLower(stage)) {
		return view.PageFilter{}, fmt.Errorf("stage=%q is none of pages: use %s", stage, strings.Join(pageStages(), ", "))
	}
	var since time.Time
	if s := q.Get("since"); s != "" {
		var err error
		if since, err = parseTime(s, now); err != nil {
			return view.PageFilter{}, fmt.Errorf("since=%q is no time: write 30m (ago) or 2026-11-22T10:00:00Z", s)
		}
	}
	return view.PageFilter{
		Stage: stage, Team: q.Get("team"), Target: q.Get("target"), Receiver: q.Get("receiver"), Person: q.Get("person"),
		Page: q.Get("page"), Incident: q.Get("incident"), Summary: q.Get("summary"), Since: since,
	}, nil
}

// pages lists the newest stage of every page of the last days.
func (a *api) pages(w http.ResponseWriter, r *http.Request) {
	if !knows(w, r, "pages", pageFilters) {
		return
	}
	f, err := parsePages(r.URL.Query(), time.Now())
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	var all []*event.Page
	a.model.Read(func(s *view.State) { all = s.Ledger(f) })
	answer(w, http.StatusOK, all)
}

// ledger writes what was stored of pages in a span as JSON lines, every stage of each, and ends. Records of one page are
// in order, pages among each other nearly.
func (a *api) ledger(w http.ResponseWriter, r *http.Request) {
	if !knows(w, r, "ledger", "from to page "+pageFilters) {
		return
	}
	t := (*event.Page)(nil).Topic()
	f, err := parsePages(r.URL.Query(), time.Now())
	var span bus.Span
	if err == nil {
		span, err = parseSpan(t, r.URL.Query(), time.Now(), false)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if !a.answers(w) {
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	flush := http.NewResponseController(w)
	_ = flush.Flush() // As for a tail.
	enc := json.NewEncoder(w)
	err = a.bus.Read(r.Context(), span, func(batch []bus.Raw) error {
		said := false
		for i := range batch {
			e, meant := entry(&batch[i], f)
			if !meant {
				continue
			}
			if err := enc.Encode(e); err != nil {
				return errEnough
			}
			said = true
		}
		if said && flush.Flush() != nil {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		panic(http.ErrAbortHandler) // As for a tail.
	}
}

// entry is the line that a record makes, if the filter means it. Nobody knows of what is unreadable whether it is meant.
func entry(raw *bus.Raw, f view.PageFilter) (Entry, bool) {
	if raw.Removed {
		return Entry{}, false
	}
	e, err := raw.Event()
	if err != nil {
		return Entry{Page: &event.Page{ID: raw.Key}, Stored: raw.Stored, Unreadable: err.Error()}, strings.HasPrefix(raw.Key, f.Page)
	}
	p, ok := e.(*event.Page)
	return Entry{Page: p, Stored: raw.Stored}, ok && f.Match(p)
}
