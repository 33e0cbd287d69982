package alertmanager_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/alertmanager"
)

// A label that is another one each time makes new alerts without end: at some number they are refused, with the label, counted
// and kept in part; what is known is taken all the same, and so is what comes when there is room again.
func TestAlertsWithoutEndAreRefusedAtSomeNumber(t *testing.T) {
	h := build(t, plan{yaml: quiet, limits: alertmanager.Config{MaxFiring: 20, MaxKnown: 30, ResolveTimeout: time.Minute}})
	<-h.model.Ready()
	stamped := func(from, to int, more ...string) string {
		var all []string
		for i := from; i < to; i++ {
			all = append(all, one(ls{"alertname": "Stamped", "instance": fmt.Sprint("i", i%3), "sent": fmt.Sprint(i)}, more...))
		}
		return list(all...)
	}
	refused := func(body, why string, n int) {
		t.Helper()
		code, text := h.do("POST", "/alerts", body)
		var says string
		if err := json.Unmarshal([]byte(text), &says); err != nil || code != http.StatusBadRequest || !strings.Contains(says, why) {
			t.Fatalf("%d %s", code, text)
		}
		if more := fmt.Sprintf("and %d more", n-10); n > 10 && !strings.Contains(says, more) {
			t.Errorf("not %s: %s", more, says)
		}
	}
	h.want("POST", "/alerts", list(one(ls{"alertname": "Other"})), nil)
	h.want("POST", "/alerts", stamped(0, 18), nil)
	h.await(19)
	refused(stamped(10, 40), `alert 10: labels: 20 alerts from elsewhere fire, which is as many as alertmanager: {max_firing: 20} allows`, 21)
	h.await(20)
	refused(stamped(40, 41), `most are "Stamped" (18 of 19 looked at), where the labels with most values are "sent" 18, "instance" 3, "alertname" 1: leave out`, 1)
	h.post(20, stamped(0, 19, "annotations", `{"known":"yes"}`)) // What fires is taken.
	h.post(1, stamped(0, 19, "endsAt", when(-time.Second)))
	h.post(11, stamped(100, 110))
	refused(stamped(200, 210), `alert 1: labels: there were 30 alerts from elsewhere within a week, which is as many as alertmanager: {max_known: 30} allows`, 10)
	h.post(13, stamped(5, 7)) // What was known may come back.

	letters, total, err := h.b.Letters(t.Context(), bus.LetterFilter{}, 0)
	if err != nil || total != 10 { // In a minute.
		t.Fatalf("%d letters, %v", total, err)
	}
	for _, l := range letters {
		if l.Group != "alertmanager" || l.Topic != "findings.v1" || !strings.Contains(l.Reason, "there is no room for more alerts from elsewhere (tester/1 at 127.0.0.1)") {
			t.Errorf("%+v", l)
		}
	}
	whole, err := h.b.Letter(t.Context(), letters[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if e, err := h.b.Decode(whole); err != nil || e.(*event.Finding).Labels.Get("alertname") != "Stamped" {
		t.Errorf("the letter holds %v, %v", e, err)
	}
}

// What fires is counted once, also while what this process remembers of it was not swept: a request takes what there is
// room for, in whole.
func TestARequestIsTakenUpToTheLimitThatIsSaid(t *testing.T) {
	h := build(t, plan{yaml: quiet, limits: alertmanager.Config{MaxFiring: 100, MaxKnown: 1000, ResolveTimeout: time.Minute}})
	<-h.model.Ready()
	some := func(from, to int) string {
		var all []string
		for i := from; i < to; i++ {
			all = append(all, one(ls{"alertname": "N", "n": fmt.Sprint(i)}))
		}
		return list(all...)
	}
	h.post(1, some(0, 1)) // The memory is swept, and not again for a minute.
	h.post(40, some(0, 40))
	if code, text := h.do("POST", "/alerts", some(40, 140)); code != http.StatusBadRequest || !strings.Contains(text, "alert 61: labels: 100 alerts from elsewhere fire") {
		t.Errorf("%d %s", code, text)
	}
	h.await(100)
}

// A request with many alerts that there is no room for is answered at once, with the label that varies named once, whether
// or not the read model is behind.
func TestManyAlertsBeyondTheLimitAreRefusedWithOneReason(t *testing.T) {
	h := build(t, plan{yaml: quiet, limits: alertmanager.Config{MaxFiring: 50, MaxKnown: 1000, ResolveTimeout: time.Minute}})
	<-h.model.Ready()
	var all []string
	for i := range 1000 {
		all = append(all, one(ls{"alertname": "N", "n": fmt.Sprint(i)}))
	}
	h.post(10, list(all[:10]...)) // Fewer than half of what may fire: the read model is behind, for all that is known.
	code, text := h.do("POST", "/alerts", list(all...))
	if n := strings.Count(text, "; most are "); code != http.StatusBadRequest || n != 1 || !strings.Contains(text, "and 940 more; most are ") {
		t.Errorf("%d, %d times: %s", code, n, text)
	}
}

// What the read model does not know yet is counted, too, and once.
func TestWhatWasJustTakenIsCounted(t *testing.T) {
	h := build(t, plan{yaml: quiet, deaf: true, limits: alertmanager.Config{MaxFiring: 3, MaxKnown: 3, ResolveTimeout: time.Minute}})
	<-h.model.Ready()
	n := func(i int) string { return one(ls{"alertname": "N", "n": fmt.Sprint(i)}) }
	h.want("POST", "/alerts", list(n(1)), nil)
	h.want("POST", "/alerts", list(n(1), n(2)), nil)
	h.want("POST", "/alerts", list(n(1), n(3)), nil)
	if code, text := h.do("POST", "/alerts", list(n(1), n(2), n(3), n(4))); code != http.StatusBadRequest || !strings.Contains(text, "alert 4: labels: 3 alerts") {
		t.Errorf("%d %s", code, text)
	}
	h.want("POST", "/alerts", list(one(ls{"alertname": "N", "n": "1"}, "endsAt", when(-time.Second))), nil)
	h.want("POST", "/alerts", list(n(4)), nil)
}

// Until the read model knows what was stored nothing is listed and nothing is decided by it: an empty list would say that all
// is well.
func TestNothingIsListedBeforeItIsKnown(t *testing.T) {
	begin := make(chan struct{})
	h := build(t, plan{yaml: quiet, begin: begin})
	if err := h.b.Publish(t.Context(), &event.Alert{
		ID: "1", Name: "A", Rule: "g/A", State: event.AlertFiring, Domain: "default", Labels: event.LabelsOf(ls{"alertname": "A"}), StartsAt: time.Now(), Updated: time.Now(),
	}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/alerts", "/alerts/groups", "/silences"} {
		resp, err := h.srv.Client().Get(h.srv.URL + alertmanager.Prefix + path)
		if err != nil {
			t.Fatal(err)
		}
		var says string
		if err := json.NewDecoder(resp.Body).Decode(&says); err != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(says, "does not know yet") {
			t.Errorf("%s: %d %v %q %v", path, resp.StatusCode, resp.Header, says, err)
		}
		resp.Body.Close()
	}
	for _, path := range []string{"/status", "/receivers"} {
		h.want("GET", path, "", nil)
	}
	// What changes something waits a little, and is done then.
	done := make(chan string, 2)
	for path, body := range map[string]string{"/alerts": list(one(ls{"alertname": "B"})), "/silences": silence("", onA, 0, time.Hour, "x")} {
		go func() {
			code, text := h.do("POST", path, body)
			done <- fmt.Sprint(path, " ", code, " ", text)
		}()
	}
	close(begin)
	for range 2 {
		if got := <-done; !strings.Contains(got, " 200 ") {
			t.Error(got)
		}
	}
	h.await(2)
}
