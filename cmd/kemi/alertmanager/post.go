package alertmanager

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

const (
	// maxPost is how many bytes of alerts one request may have.
	maxPost = 32 << 20
	// maxComplaints is how many of a request's alerts are named that are refused.
	maxComplaints = 10
	// patience is how long a request waits for the read model, which right after the start does not know all targets yet.
	patience = 10 * time.Second
	// behind is how long ago an alert may have ended, of which nothing was known, that a clock may be the reason.
	behind = time.Hour
)

// post answers POST /alerts: what is right is published, what is wrong is named.
func (a *api) post(w http.ResponseWriter, r *http.Request) error {
	var posted []*postableAlert
	if err := decode(w, r, maxPost, &posted); err != nil {
		return err
	}
	if err := a.caughtUp(r.Context()); err != nil {
		return err
	}
	now := time.Now().UTC()
	from := sender(r)
	newest := map[string]int{} // The same alert twice in one request is said once, as the last says.
	var findings []event.Event
	var complaints []string
	refused, over, same := 0, 0, 0
	a.Model.Read(func(s *view.State) {
		for i, p := range posted {
			var err error
			var f *event.Finding
			if p == nil {
				err = fmt.Errorf("it is null")
			} else {
				f, err = judged(p, s.Called, from, now)
			}
			if err != nil {
				if refused++; refused <= maxComplaints {
					complaints = append(complaints, fmt.Sprintf("alert %d: %v", i+1, err))
				}
				continue
			}
			id := event.AlertID(f.Rule, f.Labels)
			was := s.Problem(id)
			if at, twice := newest[id]; twice {
				findings[at] = f
				continue
			}
			if known(was, f) {
				same++
				continue
			}
			if was == nil && f.Verdict == event.VerdictOK && now.Sub(f.Since) < behind {
				over++
			}
			newest[id] = len(findings)
			findings = append(findings, f)
		}
	})
	if len(findings) > 0 {
		if err := a.Bus.Publish(r.Context(), findings...); err != nil {
			return fmt.Errorf("take in alerts: %w", err)
		}
	}
	for _, f := range findings {
		a.alerts.WithLabelValues(map[event.Verdict]string{event.VerdictFiring: "firing", event.VerdictOK: "resolved"}[f.(*event.Finding).Verdict]).Inc()
	}
	a.alerts.WithLabelValues("known").Add(float64(same))
	a.alerts.WithLabelValues("refused").Add(float64(refused))
	if over > 0 {
		a.warn("alerts came that were over already, and nothing is known of them: is the sender's clock behind?", now, "from", from, "alerts", over)
	}
	if refused > 0 {
		if refused > maxComplaints {
			complaints = append(complaints, fmt.Sprintf("and %d more", refused-maxComplaints))
		}
		a.warn("alerts were refused", now, "from", from, "alerts", refused, "first", complaints[0])
		return bad("%s", strings.Join(complaints, "; "))
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// warn logs, once a minute at most.
func (a *api) warn(what string, now time.Time, args ...any) {
	a.saidMu.Lock()
	defer a.saidMu.Unlock()
	if now.Sub(a.said) >= time.Minute {
		a.said = now
		a.Scope.Log().Warn(what, args...)
	}
}

// caughtUp waits until the read model knows what was stored before the start.
func (a *api) caughtUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-a.Model.Ready():
		return nil
	case <-ctx.Done():
		return wrong(http.StatusServiceUnavailable, "Kemi has started and does not know its targets yet: try again in a moment; /-/ready says when")
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
