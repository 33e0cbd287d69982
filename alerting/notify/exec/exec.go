// Package exec hands pages to a program of one's own. In: pages. Out: one run of the program per page, with the page as
// JSON on its standard input and its words in the environment, and what it said. It promises that the program, and
// everything it started, is gone when its time is over, and that what it says is read only so far. It never uses a shell,
// and never shows the program Kemi's own environment, in which there may be secrets.
package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/words"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/line"
)

// Config of a program.
type Config struct {
	// At is where it stands in the configuration: a path with a slash in it is relative to that file's folder.
	At conf.Pos
	// Command is the program and its arguments. There is no shell: nothing in them is expanded.
	Command []string `yaml:"command"`
	// Timeout of one run; then the program and what it started is killed.
	Timeout time.Duration `yaml:"timeout"`
	// Env is added to the environment.
	Env map[string]conf.Secret `yaml:"env"`
	// Dir is the folder it runs in; empty is the configuration file's.
	Dir string `yaml:"dir"`
	// Folds says that the program folds pages that come twice with the same KEMI_PAGE: after a crash a page is handed over
	// again as it is, and not marked as a possible duplicate.
	Folds bool `yaml:"folds"`
	// Template are words of one's own for KEMI_SUBJECT and KEMI_TEXT.
	Template *words.Templates `yaml:"template"`
}

// Default gives a run ten seconds.
func Default() Config { return Config{Timeout: 10 * time.Second} }

var names = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Validate implements conf.Validator. It looks whether the program is there.
func (c *Config) Validate() []conf.Complaint {
	var all []conf.Complaint
	complain := func(field, what, do string) {
		all = append(all, conf.Complaint{Field: field, What: what, Do: do})
	}
	if len(c.Command) == 0 || c.Command[0] == "" {
		complain("command", "there is no program to run", "write command: [/usr/local/bin/page, --loud]")
	} else if _, err := exec.LookPath(c.program()); err != nil {
		complain("command", fmt.Sprintf("the program %s cannot be run (%v)", c.Command[0], bare(err)), "give the path of a program that may be executed; a shell's script begins with #!")
	}
	if c.Timeout <= 0 || c.Timeout > 5*time.Minute {
		complain("timeout", "timeout is out of range", "use 1s to 5m")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		if !names.MatchString(name) || strings.HasPrefix(name, "KEMI_") {
			complain("env."+name, fmt.Sprintf("%q cannot be set", name), "use letters, digits and underscores; names that begin with KEMI_ are taken")
		}
	}
	if info, err := os.Stat(c.dir()); c.Dir != "" && (err != nil || !info.IsDir()) {
		complain("dir", c.dir()+" is no folder", "create it, or give another")
	}
	return all
}

// program is absolute when it has a slash in it: a relative one would be looked for from the folder it is to run in.
func (c *Config) program() string {
	if name := c.Command[0]; strings.ContainsRune(name, filepath.Separator) {
		if path, err := filepath.Abs(c.At.Path(name)); err == nil {
			return path
		}
	}
	return c.Command[0]
}

func (c *Config) dir() string {
	if c.Dir != "" {
		return c.At.Path(c.Dir)
	}
	return filepath.Dir(c.At.Path("kemi.yaml"))
}

func bare(err error) error {
	var e *exec.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// Receiver runs one program.
type Receiver struct {
	name   string
	config Config
	env    notify.Env
	writer *words.Writer
}

// New makes the receiver of the given name.
func New(name string, c Config, env notify.Env) (notify.Notifier, error) {
	if len(c.Command) == 0 {
		return nil, errors.New("there is no program to run")
	}
	writer, err := words.NewWriter(name, "exec", c.Template, env)
	if err != nil {
		return nil, err
	}
	return &Receiver{name: name, config: c, env: env, writer: writer}, nil
}

// Dedups implements notify.Notifier.
func (r *Receiver) Dedups() bool { return r.config.Folds }

// How a program ends, after sysexits.h: what it says by these is final. Everything else that is not 0 is tried again,
// 75 on purpose and the rest because a page that comes twice does less harm than one that does not come: whether that
// has arrived nobody knows.
const (
	exUsage    = 64 // EX_USAGE: called in a way it does not know.
	exDataErr  = 65 // EX_DATAERR: it will never take this page.
	exNoUser   = 67 // EX_NOUSER: there is no such person.
	exTempFail = 75 // EX_TEMPFAIL: it has not passed the page on, and may the next time.
	exNoPerm   = 77 // EX_NOPERM: it may not.
	exConfig   = 78 // EX_CONFIG: its own settings are wrong.
)

// maxSaid is how much of what a program says is kept, in bytes.
const maxSaid = 512

// Notify implements notify.Notifier.
func (r *Receiver) Notify(ctx context.Context, p *event.Page) (string, error) {
	d, failed := r.writer.Write(p)
	input, err := json.Marshal(p)
	if err != nil {
		return "", notify.Permanent(fmt.Errorf("encode page: %w", err))
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.config.program(), r.config.Command[1:]...)
	said := &beginning{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), said, said
	cmd.Env, cmd.Dir = r.environ(p, d), r.config.dir()
	together(cmd)
	cmd.WaitDelay = time.Second // For a program that ended and left others behind, with its output in their hands.
	err = cmd.Run()
	leave(cmd, err)
	answer := strings.TrimSpace(said.String())
	if err == nil || errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		return words.Answer(strings.TrimSpace("exit 0 "+answer), failed), nil
	}
	if cut := ctx.Err(); cut != nil {
		return answer, fmt.Errorf("run %s: it took too long and was killed: %w: %s", r.config.Command[0], cut, answer)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		err = fmt.Errorf("run %s: %w", r.config.Command[0], bare(err))
		if cmd.Process == nil { // It was not even started.
			err = notify.NotArrived(err)
		}
		return answer, err
	}
	err = fmt.Errorf("run %s: %s: %s", r.config.Command[0], exit.ProcessState, answer)
	switch code := exit.ExitCode(); code {
	case exUsage, exDataErr, exNoUser, exNoPerm, exConfig:
		err = notify.Permanent(err)
		if code == exNoUser && p.Person != "" {
			err = notify.Personal(err)
		}
		return answer, err
	case exTempFail:
		return answer, notify.NotArrived(err)
	default:
		return answer, err
	}
}

// passed are the variables of Kemi's own environment that a program sees.
var passed = [...]string{"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// environ is what the program finds in its environment.
func (r *Receiver) environ(p *event.Page, d words.Data) []string {
	var all []string
	set := func(name, value string) {
		all = append(all, name+"="+strings.ReplaceAll(value, "\x00", ""))
	}
	for _, name := range passed {
		if value, ok := os.LookupEnv(name); ok {
			set(name, value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.config.Env)) {
		set(name, r.config.Env[name].Reveal())
	}
	name := func(name, value string) { set(name, line.Of(value, maxName)) }
	name("KEMI_RECEIVER", r.name)
	name("KEMI_PAGE", p.ID)
	name("KEMI_DEDUP_KEY", p.DedupKey)
	name("KEMI_KIND", string(p.Kind))
	name("KEMI_INCIDENT", p.Incident)
	name("KEMI_TEAM", p.Team)
	name("KEMI_URGENCY", string(p.Urgency))
	set("KEMI_POSSIBLE_DUPLICATE", strconv.FormatBool(p.PossibleDuplicate))
	name("KEMI_SEVERITY", d.Incident.Severity)
	name("KEMI_CAUSE", d.Incident.Target())
	about := d.Incident.About()
	name("KEMI_CLASS", about["class"])
	name("KEMI_BEHIND", about["behind"])
	set("KEMI_TITLE", d.Title)
	set("KEMI_SUBJECT", d.Subject)
	set("KEMI_TEXT", d.Plain)
	set("KEMI_ACK_URL", d.Link(words.LinkAck))
	set("KEMI_INCIDENT_URL", d.Link(words.LinkIncident))
	set("KEMI_GRAPH_URL", d.Link(words.LinkGraph))
	set("KEMI_RUNBOOK_URL", d.Link(words.LinkRunbook))
	name("KEMI_PERSON", p.Person)
	name("KEMI_PERSON_NAME", d.Person.Name)
	name("KEMI_PERSON_MAIL", d.Person.Mail)
	name("KEMI_PERSON_PHONE", d.Person.Phone)
	set("KEMI_PERSON_HANDLE", d.Handle)
	return all
}

// maxName bounds a value of one line, in characters: far below what one variable may hold (128 KiB on Linux).
const maxName = 1000

// beginning keeps the beginning of what is written to it, on one line, and takes the rest without a word.
type beginning struct{ buf bytes.Buffer }

func (b *beginning) Write(p []byte) (int, error) {
	if room := maxSaid - b.buf.Len(); room > 0 {
		b.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (b *beginning) String() string {
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(b.buf.String(), ""), func(r rune) bool { return r <= ' ' || r == 0x7f || r >= 0x80 && r < 0xA0 }), " ")
}
