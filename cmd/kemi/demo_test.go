package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"kemi.dev/kemi/cmd/kemi/demo"
)

// TestIntegrationTheDemoTellsItsStory runs the demo as the README says, and holds it to what it promises: the primary is
// called with the core switch and what it took along counted, the secondary when the page said, nobody else once that one
// acknowledged; both hear that it is over, and nobody of what is silenced; no job lost.
func TestIntegrationTheDemoTellsItsStory(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: make integration runs it")
	}
	t.Parallel()
	code, out, errs := kemi(t, "demo", "--for", "80s", "-o", "json", "--listen", "127.0.0.1:0")
	var s demo.Summary
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v\n%s\n%s", code, err, out, errs)
	}
	if s.Targets != 532 || s.Incidents != 2 || s.LostJobs != 0 || len(s.Pages) != 4 || s.Polls < 3500 || s.Findings == 0 {
		t.Fatalf("summary: %.2000s", out)
	}
	if len(s.Silenced) != 1 || !strings.HasPrefix(s.Silenced[0], "vm-") || !strings.HasPrefix(s.Acknowledged, "You have it until ") {
		t.Errorf("silenced %q, acknowledged %q", s.Silenced, s.Acknowledged)
	}
	told := map[string]bool{}
	for i, kind := range []string{"firing", "firing", "resolved", "resolved"} {
		p := s.Pages[i]
		told[kind+" "+p.Person] = true
		if string(p.Kind) != kind || p.Receiver != "phone" || p.Cause != "core-1" || p.Suppressed["vm"] != 200 || p.Suppressed["switch"] != 5 {
			t.Errorf("page %d is %+v", i, p)
		}
	}
	if s.Pages[0].Person != "jo" || s.Pages[1].Person != "sun" || len(told) != 4 {
		t.Errorf("told %v", told)
	}
	if s.Pages[0].After < 20 || s.Pages[0].After > 45 || s.Pages[2].After < 55 {
		t.Errorf("pages came after %v s and %v s", s.Pages[0].After, s.Pages[2].After)
	}
	// The step after the secondary's is 22 s later, and another's.
	if late := s.Pages[1].Sent.Sub(s.Pages[0].Announced); late < 0 || late > 15*time.Second {
		t.Errorf("the secondary was called %s after the page said", late)
	}
}

func TestTheDemoStopsAtOnce(t *testing.T) {
	t.Parallel()
	cmd := command(t.Context(), "demo", "--listen", "127.0.0.1:0", "--devices", "100", "--no-story")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var said strings.Builder
	buffer := make([]byte, 4096)
	for !strings.Contains(said.String(), "Ctrl-C ends it.") {
		n, err := out.Read(buffer)
		if said.Write(buffer[:n]); err != nil {
			t.Fatalf("the demo ended: %v\n%s", err, said.String())
		}
	}
	if !strings.Contains(said.String(), "100 simulated devices") {
		t.Errorf("it said:\n%s", said.String())
	}
	began := time.Now()
	must(t, cmd.Process.Signal(syscall.SIGINT))
	err = cmd.Wait()
	if took := time.Since(began); took > stopsWithin || err != nil {
		t.Errorf("stopping took %s, %v", took, err)
	}
}
