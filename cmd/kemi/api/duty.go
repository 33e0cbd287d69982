package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/alerting/oncall"
	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/conf"
)

// Duty is the part of the API through which people say what they do: about incidents, what is not to page, and who is on
// call. It checks what they say and publishes it; alerting takes it in.
type Duty struct {
	Bus   *bus.Bus
	Model *view.Model
	// Roster knows who is on call. Whoever makes it feeds it what is overridden; see FollowOverrides.
	Roster *oncall.Roster
	// Holds is a new set of what the configuration holds back.
	Holds func() *hush.Set
}

// Register adds its paths.
func (d *Duty) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST "+Prefix+"/incidents/{id}/{act}", d.act)
	mux.HandleFunc("GET "+Prefix+"/oncall", d.onCall)
	mux.HandleFunc("GET "+Prefix+"/oncall/why", d.why)
	mux.HandleFunc("GET "+Prefix+"/schedules/{name}", d.calendar)
	mux.HandleFunc("GET "+Prefix+"/schedules/{name}/shifts", d.shifts)
	mux.HandleFunc("GET "+Prefix+"/overrides", d.overrides)
	mux.HandleFunc("POST "+Prefix+"/overrides", d.override)
	mux.HandleFunc("DELETE "+Prefix+"/overrides/{id}", d.endOverride)
	mux.HandleFunc("GET "+Prefix+"/silences", d.silences)
	mux.HandleFunc("GET "+Prefix+"/silences/{id}", d.silence)
	mux.HandleFunc("POST "+Prefix+"/silences", d.addSilence)
	mux.HandleFunc("DELETE "+Prefix+"/silences/{id}", d.expireSilence)
}

// FollowOverrides feeds the roster until ctx ends: for a process that does not run alerting, which does so itself.
func (d *Duty) FollowOverrides(ctx context.Context) error {
	known := map[string]bool{}
	return bus.Mirror(ctx, d.Bus, func(m bus.Message[event.Override]) error {
		if m.Removed() {
			delete(known, m.Key)
			d.Roster.Drop(m.Key)
			return nil
		}
		known[m.Key] = true
		d.Roster.Put(m.Event)
		return nil
	}, func() {}, func() {
		for id := range known {
			d.Roster.Drop(id)
		}
		clear(known)
	})
}

// problem is a mistake of the caller with the status that tells its kind.
type problem struct {
	code int
	error
}

func wrong(code int, format string, args ...any) error {
	return problem{code, fmt.Errorf(format, args...)}
}

// complain answers an error: that of a problem with its status, any other as the bus's.
func complain(w http.ResponseWriter, err error) {
	var p problem
	if errors.As(err, &p) {
		refuse(w, p.code, p)
		return
	}
	refuse(w, http.StatusServiceUnavailable, err)
}

// seen waits until what was said shows, so that whoever asks next is answered as they expect; false when it does not
// within view.ShowsWithin.
func seen(ctx context.Context, shows func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, view.ShowsWithin)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !shows() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// end is when something is over that is said to last until a time, or for some time from a start on; zero when neither is
// given. It must be to come.
func end(until time.Time, lasts string, start, now time.Time) (time.Time, error) {
	if lasts != "" {
		d, err := conf.ParseDuration(lasts)
		switch {
		case !until.IsZero():
			return time.Time{}, wrong(http.StatusBadRequest, "it has an end and a length: give one of both")
		case err != nil || d <= 0:
			return time.Time{}, wrong(http.StatusBadRequest, "%q is no length of time: write 30m, 2h or 1d", lasts)
		}
		until = start.Add(d)
	}
	if !until.IsZero() && !until.After(now) {
		return time.Time{}, wrong(http.StatusBadRequest, "it would end at %s, which is past: give a time to come", until.UTC().Format(time.RFC3339))
	}
	return until, nil
}

// instant reads a time of a query; without it it is otherwise.
func instant(r *http.Request, name string, otherwise time.Time) (time.Time, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return otherwise, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, wrong(http.StatusBadRequest, "%s=%q is no time: write 2026-11-22T10:00:00Z", name, s)
	}
	return t, nil
}

// known refuses a name that is none of those there are.
func known(what, name string, all []string) error {
	switch near := conf.Nearest(name, all); {
	case slices.Contains(all, name):
		return nil
	case near != "":
		return wrong(http.StatusNotFound, "there is no %s %q: did you mean %q?", what, name, near)
	case len(all) == 0:
		return wrong(http.StatusNotFound, "there is no %s %q: the configuration names none", what, name)
	default:
		return wrong(http.StatusNotFound, "there is no %s %q: there are %s", what, name, strings.Join(all, ", "))
	}
}

// one finds what an id, or the start of it, means among all.
func one[T any](what, id string, all []T, idOf func(T) string, list string) (found T, err error) {
	var near, starts []string
	for _, e := range all {
		switch key := idOf(e); {
		case key == id:
			return e, nil
		case id != "" && strings.HasPrefix(key, id):
			starts, found = append(starts, key), e
		default:
			near = append(near, key[:min(max(len(id), 8), len(key))])
		}
	}
	if len(starts) == 1 {
		return found, nil
	}
	var none T
	if len(starts) > 1 {
		slices.Sort(starts)
		return none, wrong(http.StatusConflict, "%q is the start of %d %ss: say more of it, as of %s", id, len(starts), what, strings.Join(starts[:min(3, len(starts))], ", "))
	}
	if n := conf.Nearest(id, near); n != "" {
		return none, wrong(http.StatusNotFound, "there is no %s %q: did you mean %q? %s says which there are", what, id, n, list)
	}
	return none, wrong(http.StatusNotFound, "there is no %s %q: %s says which there are", what, id, list)
}

// byOf is who says something; nobody must not be.
func byOf(by string) (string, error) {
	if by = strings.TrimSpace(by); by == "" {
		return "", wrong(http.StatusBadRequest, "nobody is named: say by whom, with by")
	}
	return by, nil
}

// stamp is a time as messages write it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func nameOf(p oncall.Person, key string) string { return cmp.Or(p.Name, key) }
