package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"kemi.dev/kemi/bus"
)

// Letters is a list of dead letters, the newest; Total is how many there are.
type Letters struct {
	Letters []bus.Letter `json:"letters"`
	Total   int          `json:"total"`
}

// Letter is everything that is known of a dead letter.
type Letter struct {
	bus.Letter
	// Headers are the record's own.
	Headers map[string]string `json:"headers,omitempty"`
	// Event is what the record says, if it can be read; Unreadable says why not.
	Event      json.RawMessage `json:"event,omitempty"`
	Unreadable string          `json:"unreadable,omitempty"`
	// Value is the record's bytes, as much of them as the letter holds.
	Value []byte `json:"value"`
	// Stuck says why it cannot be retried.
	Stuck string `json:"stuck,omitempty"`
}

// defaultLetters is how many letters are listed when nobody says how many.
const defaultLetters = 100

// filterLetters reads which letters are meant.
func filterLetters(topic, group, reason, since string, now time.Time) (bus.LetterFilter, error) {
	f := bus.LetterFilter{Topic: topic, Group: group, Reason: reason}
	if since == "" {
		return f, nil
	}
	var err error
	if f.Since, err = parseTime(since, now); err != nil {
		return f, fmt.Errorf("since=%q is no time: write 2h (ago) or 2026-11-22T10:00:00Z", since)
	}
	return f, nil
}

func (a *api) letters(w http.ResponseWriter, r *http.Request) {
	if !knows(w, r, "dead", "topic group reason since done limit") {
		return
	}
	q := r.URL.Query()
	f, err := filterLetters(q.Get("topic"), q.Get("group"), q.Get("reason"), q.Get("since"), time.Now())
	if err == nil && f.Topic != "" {
		_, err = a.bus.Topic(f.Topic)
	}
	limit, wrong := parseLimit(r, defaultLetters)
	done, unclear := parseBool(r, "done")
	if err = errors.Join(err, wrong, unclear); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	if !a.answers(w) {
		return
	}
	f.Done = done
	newest, total, err := a.bus.Letters(r.Context(), f, limit)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	answer(w, http.StatusOK, Letters{newest, total})
}

// parseBool reads a parameter that is true or false; without it it is false.
func parseBool(r *http.Request, name string) (bool, error) {
	switch s := r.URL.Query().Get(name); s {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, fmt.Errorf("%s=%q: write true or false", name, s)
	}
}

func (a *api) letter(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 0 {
		refuse(w, http.StatusBadRequest, fmt.Errorf("%q is no dead letter's id, which is a number: kemi dead list and GET %s/dead say which there are", r.PathValue("id"), Prefix))
		return
	}
	if !a.answers(w) {
		return
	}
	l, err := a.bus.Letter(r.Context(), id)
	switch {
	case err != nil:
		refuse(w, http.StatusServiceUnavailable, err)
		return
	case l == nil:
		refuse(w, http.StatusNotFound, fmt.Errorf("no dead letter %d (any more): kemi dead list and GET %s/dead say which there are", id, Prefix))
		return
	}
	one := Letter{Letter: *l, Headers: map[string]string{}, Value: l.Record.Value, Stuck: a.bus.Stuck(l)}
	for _, h := range l.Record.Headers {
		one.Headers[h.Name] = h.Value
	}
	if e, err := a.bus.Decode(l); err != nil {
		one.Unreadable = err.Error()
	} else if one.Event, err = json.Marshal(e); err != nil {
		one.Unreadable = err.Error()
	}
	answer(w, http.StatusOK, one)
}

// Settle is what is posted to retry or drop letters: those of the IDs, or all that are chosen.
type Settle struct {
	IDs    []int64 `json:"ids,omitempty"`
	All    bool    `json:"all,omitempty"`
	Topic  string  `json:"topic,omitempty"`
	Group  string  `json:"group,omitempty"`
	Reason string  `json:"reason,omitempty"`
	Since  string  `json:"since,omitempty"`
	// By and Comment are written down with what was done.
	By      string `json:"by,omitempty"`
	Comment string `json:"comment,omitempty"`
}

// settle retries or drops letters.
func (a *api) settle(do func(ctx context.Context, ids []int64, by, comment string) ([]bus.Settled, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var s Settle
		if !body(w, r, maxLetters, "which letters", &s) {
			return
		}
		f, err := filterLetters(s.Topic, s.Group, s.Reason, s.Since, time.Now())
		chosen := f != bus.LetterFilter{}
		switch {
		case err != nil:
		case s.All == (len(s.IDs) > 0):
			err = errors.New("name letters by ids, or say all: one of both")
		case chosen && !s.All:
			err = errors.New("letters are named by ids: a filter goes with all")
		case f.Topic != "":
			_, err = a.bus.Topic(f.Topic)
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		if !a.answers(w) {
			return
		}
		if s.All {
			all, _, err := a.bus.Letters(r.Context(), f, 0)
			if err != nil {
				refuse(w, http.StatusServiceUnavailable, err)
				return
			}
			for i := range all {
				s.IDs = append(s.IDs, all[i].ID)
			}
		}
		settled, err := do(r.Context(), s.IDs, s.By, s.Comment)
		if err != nil {
			refuse(w, http.StatusServiceUnavailable, err)
			return
		}
		answer(w, http.StatusOK, settled)
	}
}
