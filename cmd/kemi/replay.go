package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/cmd/kemi/api"
)

func newReplay() *cobra.Command {
	var c client
	var output, from, to, key, into, webhook string
	var limit int
	var yes bool
	cmd := &cobra.Command{
		Use: "replay TOPIC", Short: "Read a part of a topic's past, say it again, or send it to a webhook again", Args: cobra.ExactArgs(1), ValidArgsFunction: completeTopics(&c),
		Long: `Writes what a topic stored between --from and --to (without it: now) as JSON lines, and ends. Each line says where the
record is (partition, position, key, stored, headers) and has the event as it was said: a CloudEvent as it is, a reading or job
by its fields. No consumer notices.
` + whenHelp + `

With --into TOPIC the same records (their own bytes, headers and key) are published again instead, for every group that reads
that topic. What may be said again, and what comes of it:
  readings.v1, findings.v1, commands.v1   only into themselves, with --yes. Their identities are what they were, and who knows
      them already takes them for what they are. Sinks of series get the samples again, with their old times; rules judge a
      target by its newest reading, alerts follow the newest finding of a series: an old firing one fires nothing. The load is
      real: it waits in line with what happens now.
  jobs.v1.ZONE   into another zone, to have its pollers do the work, or with --yes into itself, where a poller leaves out what it
      did already, and of two readings of one job the first counts. Jobs past their deadline are left out.
  targets.v1, alerts.v1, incidents.v1, pages.v1   never: they keep the newest record of each key, and an old one that is said
      again would be the newest. A problem that is over would fire again, and somebody be paged.
  dead.v1   never: see kemi dead retry.

With --webhook NAME the records are delivered again to that subscription alone, also those of targets.v1, alerts.v1, incidents.v1
and pages.v1: nothing is put back on the topic. Each has the webhook-id that it had, and the header kemi-again: replay. What the
subscription leaves out by its team is left out again. Records of one key come in their order, beside what is delivered now.

Records that cannot be read are left out of --into; they would only be dead letters again. Ctrl-C breaks it off; doing it again
does no harm.`,
		Example: `  kemi replay alerts.v1 --from 1d | jq -c .event > cloudevents.jsonl
  kemi replay readings.v1 --from 10:00 --to 10:15 --key core-1 | jq .event.status
  kemi replay readings.v1 --from 3/120000 --limit 100
  kemi replay readings.v1 --from 2h --into readings.v1 --yes
  kemi replay jobs.v1.dmz --from 1m --into jobs.v1.default
  kemi replay incidents.v1 --from 08:00 --to 10:00 --webhook billing-audit`,
	}
	cmd.Flags().StringVarP(&output, "output", "o", "json", "json, one event a line, or text; with --into and --webhook text, or json: what was done")
	cmd.Flags().StringVar(&from, "from", "", "begin there: 2h (ago), 10:00, beginning, or PARTITION/POSITION")
	cmd.Flags().StringVar(&to, "to", "", "end before that time; without it, with what is stored now")
	cmd.Flags().StringVar(&key, "key", "", "only events of this key: a target, an alert, …")
	cmd.Flags().Var((*count)(&limit), "limit", "end after so many events")
	cmd.Flags().StringVar(&into, "into", "", "publish the events to this topic, in place of writing them")
	cmd.Flags().StringVar(&webhook, "webhook", "", "deliver the events again to this subscription, in place of writing them")
	cmd.Flags().BoolVar(&yes, "yes", false, "with --into: yes, the same topic is meant")
	_ = cmd.MarkFlagRequired("from") // Fails only for flags that are not there.
	_ = cmd.RegisterFlagCompletionFunc("into", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.topicNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	}) // As above.
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		topic, now := args[0], time.Now()
		from, to := when(from, now), when(to, now)
		switch {
		case output != "json" && output != "text":
			return usageError{fmt.Errorf("-o %s: there is text and json", output)}
		case into == "" && yes:
			return usageError{errors.New("--yes goes with --into")}
		case into != "" && webhook != "":
			return usageError{errors.New("--into and --webhook are two ways: name one")}
		case into+webhook != "" && limit != 0:
			return usageError{errors.New("--limit does not go with --into and --webhook: give --to")}
		case into != "" && into == topic && !yes:
			return usageError{fmt.Errorf("everybody who reads %s would be handed these events again: say --yes if that is meant", topic)}
		}
		p := newProgress(cmd.ErrOrStderr())
		defer p.clear()
		asJSON := cmd.Flags().Changed("output") && output == "json" // What is said again is told as text when nobody says how.
		if into != "" {
			return c.sayAgain(cmd, topic, map[string]any{"from": from, "to": to, "key": key, "into": into, "yes": yes}, asJSON, p)
		}
		if webhook != "" {
			return c.sayAgain(cmd, topic, map[string]any{"from": from, "to": to, "key": key, "webhook": webhook}, asJSON, p)
		}
		n := 0
		_, err := c.lines(cmd, "/topics/"+url.PathEscape(topic)+"/events", queryOf("from", from, "to", to, "key", key, "limit", limitText(limit)), func(line json.RawMessage) error {
			n++
			p.say(func() string { return fmt.Sprintf("%d events", n) })
			return printLine(cmd.OutOrStdout(), output, line)
		})
		if err == nil && cmd.Context().Err() != nil {
			err = fmt.Errorf("broken off after %d events", n)
		}
		return err
	}
	return cmd
}

// saidAgain is what came of a replay, as JSON.
type saidAgain struct {
	Topic   string `json:"topic"`
	Into    any    `json:"into,omitempty"`
	Webhook any    `json:"webhook,omitempty"`
	bus.Again
}

// sayAgain has the server publish a part of a topic again, and says how far it is.
func (c *client) sayAgain(cmd *cobra.Command, topic string, want map[string]any, asJSON bool, p *progress) error {
	body, err := json.Marshal(want)
	if err != nil {
		return err
	}
	resp, err := c.do(cmd.Context(), "POST", "/topics/"+url.PathEscape(topic)+"/replay", nil, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var so api.Progress
	for dec := json.NewDecoder(resp.Body); ; {
		if err := dec.Decode(&so); err != nil {
			return fmt.Errorf("broken off after %d events, the last of %s: %w", so.Records, so.At.Format(time.RFC3339), err)
		}
		if so.Error != "" {
			return fmt.Errorf("%s (%d events were said again, the last of %s)", plain(so.Error), so.Records, so.At.Format(time.RFC3339))
		}
		if so.Over {
			break
		}
		p.say(func() string {
			return fmt.Sprintf("%d events, %s, at %s", so.Records, size(so.Bytes), so.At.Local().Format(time.DateTime))
		})
	}
	p.clear()
	if asJSON {
		return printJSON(cmd.OutOrStdout(), saidAgain{Topic: topic, Into: want["into"], Webhook: want["webhook"], Again: so.Again})
	}
	said := fmt.Sprintf("%s: %d events were said again on %s", topic, so.Records, want["into"])
	if want["webhook"] != nil {
		said = fmt.Sprintf("%s: %d events wait to be delivered again to %s", topic, so.Records, want["webhook"])
	}
	if so.Late > 0 {
		said += fmt.Sprintf("; %d jobs were past their deadline", so.Late)
	}
	if so.Unreadable > 0 {
		said += fmt.Sprintf("; %d records cannot be read", so.Unreadable)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), said)
	return err
}

// progress is a line on a terminal that says how far long work is. On anything else it says nothing.
type progress struct {
	w    io.Writer // Nil when there is no terminal.
	next time.Time
	said bool
}

func newProgress(w io.Writer) *progress {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return &progress{w: w, next: time.Now().Add(time.Second)}
		}
	}
	return &progress{}
}

// say shows the text, at most twice a second and not before the work has taken a second.
func (p *progress) say(text func() string) {
	if now := time.Now(); p.w != nil && now.After(p.next) {
		p.next, p.said = now.Add(500*time.Millisecond), true
		fmt.Fprintf(p.w, "\r\x1b[K%s", text())
	}
}

// clear takes the line away.
func (p *progress) clear() {
	if p.said {
		p.said = false
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
