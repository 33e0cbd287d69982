package alertmanager

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

const (
	// maxPost is how many bytes of alerts one request may have, and maxAlerts how many alerts.
	maxPost   = 32 << 20
	maxAlerts = 20_000
	// maxComplaints is how many of a request's alerts are named that are refused.
	maxComplaints = 10
	// patience is how long what changes something waits for the read model, which right after the start does not know all
	// targets yet: less than Prometheus does, which waits for 10 s.
	patience = 5 * time.Second
	// behind is how long ago an alert may have ended, of which nothing was known, that a clock may be the reason.
	behind = time.Hour
)

// taken is what became of the alerts of a request.
type taken struct {
	findings []event.Event
	ids      []string // Of the findings' alerts.
	was      []last   // What had been said of them.
	// beyond are the findings that there is no room for.
	beyond            []*event.Finding
	refused           []string // The first of those that are wrong, in words.
	wrong, over, same int
}

func (t *taken) refuse(i int, err error) {
	if t.wrong++; t.wrong <= maxComplaints {
		t.refused = append(t.refused, fmt.Sprintf("alert %d: %v", i+1, err))
	}
}

// post answers POST /alerts: what is right is published, what is wrong is named.
func (a *api) post(w http.ResponseWriter, r *http.Request) error {
	posted, mistakes, err := readAlerts(w, r)
	if err != nil {
		return err
	}
	if err := a.caughtUp(r.Context(), patience); err != nil {
		return err
	}
	now, from := time.Now().UTC(), sender(r)
	t := a.take(posted, mistakes, from, now)
	why := ""
	if len(t.beyond) > 0 {
		why = a.varies(now)
	}
	if len(t.findings) > 0 {
		if err := a.Bus.PublishPromptly(r.Context(), t.findings...); err != nil {
			return fmt.Errorf("take in alerts: %w", err)
		}
	}
	for i, e := range t.findings {
		f := e.(*event.Finding)
		a.memory.said(t.ids[i], f, t.was[i])
		a.alerts.WithLabelValues(map[event.Verdict]string{event.VerdictFiring: "firing", event.VerdictOK: "resolved"}[f.Verdict]).Inc()
	}
	a.alerts.WithLabelValues("known").Add(float64(t.same))
	a.alerts.WithLabelValues("refused").Add(float64(t.wrong - len(t.beyond)))
	a.alerts.WithLabelValues("limit").Add(float64(len(t.beyond)))
	if t.over > 0 {
		a.warn("alerts came that were over already, and nothing is known of them: is the sender's clock behind?", now, "from", from, "alerts", t.over)
	}
	if t.wrong == 0 {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	a.bury(r.Context(), &t, from, now)
	complaints := t.refused
	if more := t.wrong - len(complaints); more > 0 {
		complaints = append(complaints, fmt.Sprintf("and %d more", more))
	}
	a.warn("alerts were refused", now, "from", from, "alerts", t.wrong, "first", complaints[0]+why)
	return bad("%s%s", strings.Join(complaints, "; "), why)
}

// take decides what becomes of alerts; mistakes says which of them could not be read.
func (a *api) take(posted []*postableAlert, mistakes map[int]error, from string, now time.Time) (t taken) {
	newest := map[string]int{} // The same alert twice in one request is said once, as the last says.
	a.Model.Read(func(s *view.State) {
		room := a.room(s, len(posted), now)
		j := judgement{about: s.Called, from: from, now: now, resolve: a.Limits.ResolveTimeout, was: func(id string) last {
			return a.memory.of(id, s.Problem(id))
		}}
		for i, p := range posted {
			err := mistakes[i]
			if err == nil && p == nil {
				err = errors.New("it is null")
			}
			var f *event.Finding
			var was last
			if err == nil {
				f, was, err = j.finding(p)
			}
			if err != nil {
				t.refuse(i, err)
				continue
			}
			id := event.AlertID(f.Rule, f.Labels)
			if at, twice := newest[id]; twice {
				t.findings[at] = f
				continue
			}
			if was.known(f) {
				t.same++
				continue
			}
			if err := room.take(f, &was); err != nil {
				t.refuse(i, err)
				t.beyond = append(t.beyond, f)
				continue
			}
			if was.at.IsZero() && f.Verdict == event.VerdictOK && now.Sub(f.Since) < behind {
				t.over++
			}
			newest[id] = len(t.findings)
			t.findings, t.ids, t.was = append(t.findings, f), append(t.ids, id), append(t.was, was)
		}
	})
	return t
}

// readAlerts reads what was posted. What cannot be read of one alert does not take the others with it: mistakes says
// what it is, by the number of the alert.
func readAlerts(w http.ResponseWriter, r *http.Request) (posted []*postableAlert, mistakes map[int]error, err error) {
	data, err := read(w, r, maxPost)
	if err != nil {
		return nil, nil, err
	}
	if posted, mistakes, err = alertsOf(data); err != nil {
		return nil, nil, bad("read the request: %v", err)
	}
	if len(posted) > maxAlerts {
		return nil, nil, bad("the request has %d alerts: send %d at most at once", len(posted), maxAlerts)
	}
	return posted, mistakes, nil
}

func alertsOf(data []byte) (posted []*postableAlert, mistakes map[int]error, err error) {
	if json.Unmarshal(data, &posted) == nil {
		return posted, nil, nil
	}
	var each []json.RawMessage
	if err := json.Unmarshal(data, &each); err != nil {
		return nil, nil, fmt.Errorf("it is no list of alerts: %w", err)
	}
	posted, mistakes = make([]*postableAlert, len(each)), map[int]error{}
	for i, one := range each {
		if err := json.Unmarshal(one, &posted[i]); err != nil {
			mistakes[i] = fieldOf(one, err)
		}
	}
	return posted, mistakes, nil
}

// fieldOf says which field of an alert cannot be read.
func fieldOf(data []byte, err error) error {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return fmt.Errorf("it is no alert: %w", err)
	}
	var p postableAlert
	for _, f := range []struct {
		name string
		into any
	}{{"labels", &p.Labels}, {"annotations", &p.Annotations}, {"startsAt", &p.StartsAt}, {"endsAt", &p.EndsAt}, {"generatorURL", &p.GeneratorURL}} {
		for name, value := range fields {
			if strings.EqualFold(name, f.name) {
				if err := json.Unmarshal(value, f.into); err != nil {
					return fmt.Errorf("%s: %w", f.name, err)
				}
			}
		}
	}
	return err
}

// warn logs, each text once a minute at most.
func (a *api) warn(what string, now time.Time, args ...any) {
	a.saidMu.Lock()
	defer a.saidMu.Unlock()
	if now.Sub(a.said[what]) >= time.Minute {
		a.said[what] = now
		a.Scope.Log().Warn(what, args...)
	}
}

// caughtUp waits until the read model knows what was stored before the start, but not longer than patience.
func (a *api) caughtUp(ctx context.Context, patience time.Duration) error {
	select {
	case <-a.Model.Ready():
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-a.Model.Ready():
		return nil
	case <-ctx.Done():
		return wrong(http.StatusServiceUnavailable, "Kemi has started and does not know yet what fires and what is silenced: try again in a moment; /-/ready says when")
	}
}

// sender says for people who sent a request.
func sender(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	agent, _, _ := strings.Cut(r.UserAgent(), " ")
	return fmt.Sprintf("%.80s at %s", cmp.Or(agent, "somebody"), cmp.Or(host, "nowhere"))
}
