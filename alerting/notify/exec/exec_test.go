//go:build unix

package exec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/words"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

func page() *event.Page {
	began := time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)
	i := &event.Incident{ID: "i1", Kind: event.IncidentDown, State: event.IncidentOpen, Cause: "core-1", Severity: "critical", OpenedAt: began, Title: "core-1 is down; $(touch hacked) `touch hacked`"}
	return &event.Page{
		ID: "p1", Incident: "i1", Team: "net", Receiver: "sms", Person: "jo", Kind: event.PageFiring, Urgency: event.UrgencyPage, DedupKey: "k1", Title: i.Title,
		Snapshot: i, Created: began.Add(5 * time.Second), Updated: began.Add(5 * time.Second),
	}
}

func house() notify.Env {
	return notify.Env{
		ExternalURL: "https://kemi.example", AckURL: func(p *event.Page) string { return "https://kemi.example/ack/" + p.ID },
		Contact: func(person string) (notify.Contact, bool) {
			return notify.Contact{Name: "Jo Kim", Mail: "jo@example.org", Phone: "+82 10", Handles: map[string]conf.Secret{"sms": conf.NewSecret("U1")}}, person == "jo"
		},
	}
}

// program writes a script of the test and makes a receiver of it.
func program(t *testing.T, script string, change ...func(*Config)) (n notify.Notifier, dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "page"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.At = conf.Pos{File: filepath.Join(dir, "kemi.yaml")}
	c.Command = []string{"./page", "a b", "$HOME"}
	for _, f := range change {
		f(&c)
	}
	if said := c.Validate(); len(said) > 0 {
		t.Fatal(said)
	}
	n, err := New("sms", c, house())
	if err != nil {
		t.Fatal(err)
	}
	return n, dir
}

func TestAProgramGetsThePageAndItsWords(t *testing.T) {
	t.Setenv("KEMI_TEST_SECRET", "T0KEN")
	t.Setenv("LAB_COMMUNITY", "T0KEN")
	n, dir := program(t, `cat > stdin; env > env; printf '%s\n' "$@" > args; echo "told $KEMI_PERSON_NAME"; echo fine >&2`, func(c *Config) {
		c.Env = map[string]conf.Secret{"SMS_KEY": conf.NewSecret("s3cret")}
		c.Template = &words.Templates{Subject: "{{ .Handle }}: {{ .Incident.Cause }}"}
	})
	answer, err := n.Notify(t.Context(), page())
	if err != nil || answer != "exit 0 told Jo Kim fine" {
		t.Fatalf("got %q, %v", answer, err)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var p event.Page
	if err := json.Unmarshal([]byte(read("stdin")), &p); err != nil || p.ID != "p1" || p.Snapshot.Cause != "core-1" {
		t.Errorf("read %s, %v", read("stdin"), err)
	}
	if got := read("args"); got != "a b\n$HOME\n" {
		t.Errorf("the arguments are %q", got)
	}
	env := read("env")
	for _, line := range []string{
		"KEMI_PAGE=p1", "KEMI_INCIDENT=i1", "KEMI_KIND=firing", "KEMI_DEDUP_KEY=k1", "KEMI_SEVERITY=critical", "KEMI_CAUSE=core-1", "KEMI_SUBJECT=U1: core-1",
		"KEMI_TITLE=core-1 is down; $(touch hacked) `touch hacked`", "KEMI_ACK_URL=https://kemi.example/ack/p1", "KEMI_INCIDENT_URL=https://kemi.example/incidents/i1",
		"KEMI_PERSON=jo", "KEMI_PERSON_PHONE=+82 10", "KEMI_PERSON_MAIL=jo@example.org", "KEMI_PERSON_HANDLE=U1", "SMS_KEY=s3cret", "PATH=" + os.Getenv("PATH"),
		"KEMI_URGENCY=page", "KEMI_TEAM=net", "KEMI_RECEIVER=sms", "KEMI_POSSIBLE_DUPLICATE=false",
	} {
		if !strings.Contains("\n"+env, "\n"+line+"\n") {
			t.Errorf("the environment lacks %s:\n%s", line, env)
		}
	}
	if strings.Contains(env, "T0KEN") {
		t.Error("Kemi's own environment is shown")
	}
	if _, err := os.Stat(filepath.Join(dir, "hacked")); err == nil {
		t.Error("what is in a page was run")
	}
}

func TestHowAProgramEndsDecidesWhetherItIsTriedAgain(t *testing.T) {
	for code, want := range map[int]struct{ ok, permanent, later bool }{
		0: {ok: true}, 1: {}, 2: {}, 22: {}, 64: {permanent: true}, 65: {permanent: true}, 67: {permanent: true}, 69: {}, 70: {}, 75: {later: true}, 77: {permanent: true}, 78: {permanent: true}, 126: {}, 127: {},
	} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			n, _ := program(t, fmt.Sprintf("echo because; exit %d", code))
			answer, err := n.Notify(t.Context(), page())
			if (err == nil) != want.ok || notify.IsPermanent(err) != want.permanent {
				t.Errorf("got %v, permanent %v", err, notify.IsPermanent(err))
			}
			if not := notify.ArrivalOf(err) == event.NotArrived; not != (want.permanent || want.later) || notify.IsPersonal(err) != (code == exNoUser) {
				t.Errorf("it is %s, personal %v", notify.ArrivalOf(err), notify.IsPersonal(err))
			}
			if err != nil && (!strings.Contains(err.Error(), "because") || !strings.Contains(err.Error(), strconv.Itoa(code))) {
				t.Errorf("the error does not say why: %v, %q", err, answer)
			}
		})
	}
	killed, _ := program(t, "kill -TERM $$")
	if _, err := killed.Notify(t.Context(), page()); notify.ArrivalOf(err) != event.ArrivalUnknown || notify.IsPermanent(err) || !strings.Contains(err.Error(), "signal: terminated") {
		t.Errorf("killed: %v", err)
	}
	gone, dir := program(t, "exit 0")
	if err := os.Remove(filepath.Join(dir, "page")); err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Notify(t.Context(), page()); err == nil || notify.IsPermanent(err) || notify.ArrivalOf(err) != event.NotArrived {
		t.Errorf("a program that is not there any more: %v", err)
	}
}

// A program that hangs is killed with everything it started, and the page is tried again.
func TestAProgramThatHangsIsKilledWithItsChildren(t *testing.T) {
	n, dir := program(t, `trap "" TERM; sleep 600 & echo $! > child; echo working; wait`, func(c *Config) { c.Timeout = 300 * time.Millisecond })
	_, err := n.Notify(t.Context(), page())
	if !errors.Is(err, context.DeadlineExceeded) || notify.IsPermanent(err) || !strings.Contains(err.Error(), "working") {
		t.Errorf("got %v", err)
	}
	gone(t, filepath.Join(dir, "child"))
}

// A program that ended well and left somebody behind has done its work; who was left behind with its output ends too.
func TestWhoIsLeftBehindHoldsNobodyUp(t *testing.T) {
	n, dir := program(t, `sleep 600 & echo $! > child; echo done`)
	answer, err := n.Notify(t.Context(), page())
	if err != nil || answer != "exit 0 done" {
		t.Errorf("got %q, %v", answer, err)
	}
	gone(t, filepath.Join(dir, "child"))
}

// gone fails unless the process whose number is in the file has ended, or will at once.
func gone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || strings.Contains(string(state), ") Z ") {
			return // It ended, or is dead and waits to be buried by whoever inherited it.
		}
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d lives on: %s", pid, state)
		}
	}
}

func TestWhatAProgramSaysIsBounded(t *testing.T) {
	n, _ := program(t, `head -c 3000000 /dev/zero | tr '\0' x; exit 3`)
	answer, err := n.Notify(t.Context(), page())
	if err == nil || len(answer) > 600 || len(err.Error()) > 1000 {
		t.Errorf("kept %d bytes: %.200v", len(answer), err)
	}
}

// A program that reads nothing is handed a page that is larger than a pipe all the same.
func TestAProgramNeedNotReadThePage(t *testing.T) {
	n, _ := program(t, "exit 0")
	p := page()
	p.Text = strings.Repeat("x", 1<<20)
	if _, err := n.Notify(t.Context(), p); err != nil {
		t.Error(err)
	}
}

// Paths begin at the configuration file, wherever Kemi was started.
func TestPathsBeginAtTheConfigurationFile(t *testing.T) {
	n, dir := program(t, "pwd", func(c *Config) {
		t.Chdir(filepath.Dir(filepath.Dir(c.At.File)))
		c.At.File = filepath.Join(filepath.Base(filepath.Dir(c.At.File)), "kemi.yaml")
	})
	if answer, err := n.Notify(t.Context(), page()); err != nil || answer != "exit 0 "+dir {
		t.Errorf("got %q, %v", answer, err)
	}
}

func TestATemplateThatFailsIsTold(t *testing.T) {
	n, _ := program(t, `printf %s "$KEMI_TEXT" | tail -1`, func(c *Config) {
		c.Template = &words.Templates{Body: `{{ if eq .Page.ID "p1" }}{{ index .Incident.Alerts 7 }}{{ end }}`}
	})
	answer, err := n.Notify(t.Context(), page())
	if err != nil || strings.Count(answer, "A template of the receiver sms failed") != 2 {
		t.Errorf("got %q, %v", answer, err)
	}
}

func TestSettingsThatCannotWorkAreFound(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for yaml, want := range map[string]string{
		`{}`:                                                "there is no program",
		`{command: ["./none"]}`:                             "no such file",
		`{command: ["./plain"]}`:                            "permission denied",
		`{command: ["no-such-program-of-kemi"]}`:            "not found in $PATH",
		`{command: "echo hello"}`:                           "expected a list",
		`{command: [sh], timeout: 1h}`:                      "timeout is out of range",
		`{command: [sh], env: {KEMI_PAGE: x}}`:              "cannot be set",
		`{command: [sh], env: {"a=b": x}}`:                  "cannot be set",
		`{command: [sh], dir: none}`:                        "is no folder",
		`{command: [sh], template: {body: "{{ .Titel }}"}}`: "Titel",
		`{command: [sh], dir: ., folds: true}`:              "",
	} {
		nodes, _ := conf.Parse(filepath.Join(dir, "kemi.yaml"), []byte(yaml))
		c := Default()
		problems := nodes[0].Into(&c)
		if want == "" && len(problems) > 0 || want != "" && (len(problems) != 1 || !strings.Contains(problems[0].String(), want)) {
			t.Errorf("%s: %v; want %q", yaml, problems, want)
		}
	}
}
