package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/cmd/kemi/api"
)

func newDead() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dead", Short: "Dead letters: what could not be handled, and why", Args: noSubcommand, RunE: help,
		Long: `What a group cannot handle goes to dead.v1, with its own bytes and the reason, and the group goes on: a record that is
not Kemi's or of a newer version, one that a handler refused for good or too often, one that no broker would take. Letters stay
for 30 days. Look at them, mend the cause, then retry them, or drop them.`,
	}
	cmd.AddCommand(newDeadList(), newDeadShow(), newSettle("retry"), newSettle("drop"))
	return cmd
}

// letterFlags adds the flags that choose letters.
func letterFlags(cmd *cobra.Command, c *client, f *api.Settle) {
	cmd.Flags().StringVar(&f.Topic, "topic", "", "only those from this topic")
	cmd.Flags().StringVar(&f.Group, "group", "", "only those of this group; publisher is what could not be stored")
	cmd.Flags().StringVar(&f.Reason, "reason", "", "only those whose reason has this text in it")
	cmd.Flags().StringVar(&f.Since, "since", "", "only those given up since: 2h (ago), 10:00, 2026-11-22T10:00:00Z")
	_ = cmd.RegisterFlagCompletionFunc("topic", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return c.topicNames(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
	}) // Fails only for flags that are not there.
}

func newDeadList() *cobra.Command {
	var c client
	var output string
	var f api.Settle
	var limit int
	var done bool
	cmd := &cobra.Command{
		Use: "list", Short: "List dead letters, newest first", Args: cobra.NoArgs,
		Example: "  kemi dead list\n  kemi dead list --topic readings.v1 --since 2h\n  kemi dead list --reason 'newer version' -o json | jq '.letters[].id'",
	}
	outputFlag(cmd, &output)
	letterFlags(cmd, &c, &f)
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many")
	cmd.Flags().BoolVar(&done, "done", false, "those that were retried or dropped, too")
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 {
			return usageError{fmt.Errorf("--limit %d: give 1 or more", limit)}
		}
		q := queryOf("topic", f.Topic, "group", f.Group, "reason", f.Reason, "since", when(f.Since, time.Now()), "limit", strconv.Itoa(limit))
		if done {
			q.Set("done", "true")
		}
		var all api.Letters
		if err := c.get(cmd.Context(), "/dead", q, &all); err != nil {
			return err
		}
		if output == "json" {
			return printJSON(cmd.OutOrStdout(), all)
		}
		return printLetters(cmd.OutOrStdout(), &all, done)
	}
	return cmd
}

func printLetters(w io.Writer, all *api.Letters, withDone bool) error {
	header := []string{"ID", "AGE", "TOPIC", "GROUP", "KEY", "ATTEMPTS", "REASON"}
	if withDone {
		header = append(header, "DONE")
	}
	rows := make([][]string, 0, len(all.Letters))
	for i := range all.Letters {
		l := &all.Letters[i]
		row := []string{strconv.FormatInt(l.ID, 10), ago(l.At), or(l.Topic, "unknown"), or(l.Group, "-"), or(short(l.Key, 40), "-"), strconv.Itoa(l.Attempts), short(l.Reason, 160)}
		if withDone && l.Done != nil {
			row = append(row, l.Done.How+" "+ago(l.Done.At)+" ago "+l.Done.By)
		} else if withDone {
			row = append(row, "no")
		}
		rows = append(rows, row)
	}
	if err := printTable(w, header, rows); err != nil {
		return err
	}
	if more := all.Total - len(all.Letters); more > 0 {
		_, err := fmt.Fprintf(w, "and %d older: see --limit\n", more)
		return err
	}
	return nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// short cuts a text to n characters.
func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func newDeadShow() *cobra.Command {
	var c client
	var output string
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show a dead letter with everything that is known of it", Args: cobra.ExactArgs(1),
		Long: `Shows where the record was, who could not handle it and why, its headers, and what it says; when that cannot be read,
its first bytes. -o json has all its bytes, as base64 in value.`,
		Example: "  kemi dead show 17\n  kemi dead show 17 -o json | jq -r .value | base64 -d > record",
	}
	outputFlag(cmd, &output)
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := letterID(args[0])
		if err != nil {
			return err
		}
		var l api.Letter
		if err := c.get(cmd.Context(), fmt.Sprint("/dead/", id), nil, &l); err != nil {
			return err
		}
		if output == "json" {
			return printJSON(cmd.OutOrStdout(), l)
		}
		return printLetter(cmd.OutOrStdout(), &l)
	}
	return cmd
}

// letterID reads the id of a letter, which is a number.
func letterID(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 0 {
		return 0, usageError{fmt.Errorf("%q is no id of a dead letter, which is a number: see kemi dead list", s)}
	}
	return id, nil
}

// dumped is how many bytes of a record that cannot be read are shown.
const dumped = 256

func printLetter(w io.Writer, l *api.Letter) error {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name, plain(value))
		}
	}
	line("letter", strconv.FormatInt(l.ID, 10))
	line("given up", fmt.Sprintf("%s (%s ago)", l.At.Local().Format(time.DateTime), ago(l.At)))
	line("reason", l.Reason)
	line("from", place(&l.Letter))
	line("group", l.Group)
	line("key", l.Key)
	if l.Attempts > 0 {
		line("attempts", strconv.Itoa(l.Attempts))
	}
	holds := fmt.Sprintf("%d bytes", l.Bytes)
	if l.Truncated {
		holds += fmt.Sprintf(", of which the letter holds %d", len(l.Value))
	}
	line("record", holds)
	if d := l.Done; d != nil {
		line("done", strings.TrimSpace(fmt.Sprintf("%s at %s by %s  %s", d.How, d.At.Local().Format(time.DateTime), or(d.By, "somebody"), d.Comment)))
	} else if l.Stuck != "" {
		line("stuck", "it cannot be retried: "+l.Stuck)
	}
	names := make([]string, 0, len(l.Headers))
	for name := range l.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		head := ""
		if i == 0 {
			head = "headers"
		}
		fmt.Fprintf(&b, "%-10s %s: %s\n", head, plain(name), plain(l.Headers[name]))
	}
	switch {
	case l.Removed:
		line("says", "the key is removed")
	case l.Event != nil:
		var indented bytes.Buffer
		if err := json.Indent(&indented, l.Event, "", "  "); err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n%s\n", plainLines(indented.String()))
	default:
		line("unreadable", l.Unreadable)
		fmt.Fprintf(&b, "\n%s", hex.Dump(l.Value[:min(len(l.Value), dumped)]))
		if more := len(l.Value) - dumped; more > 0 {
			fmt.Fprintf(&b, "… and %d bytes more: see -o json\n", more)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// plainLines is plain for a text of several lines.
func plainLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	return strings.Join(lines, "\n")
}

// newSettle makes "kemi dead retry" and "kemi dead drop".
func newSettle(verb string) *cobra.Command {
	c := client{patient: true}
	var output string
	var s api.Settle
	past := map[string]string{"retry": bus.Retried, "drop": bus.Dropped}[verb]
	cmd := &cobra.Command{
		Use: verb + " ID… | --all", Short: "Put dead letters back where they came from",
		Long: `Publishes the records of letters again where they were, with their own bytes, headers, key and partition, then writes down
that the letters are done, with who did it and when. Every group of the topic is handed them again, not only the one that could
not handle them: an event has the identity that it had, and who knows it already takes it for what it is.

What cannot be put back is said and stays: what was cut short because it was too large, what was never stored, and records of
targets.v1, alerts.v1, incidents.v1 and pages.v1 that have a newer one of their key by now, which they would replace.

Mend the cause first, else they come back. Retrying is safe to do again when it was broken off.`,
		Example: "  kemi dead retry 17 18\n  kemi dead retry --all --topic findings.v1 --since 2h --comment 'rules are fixed'",
	}
	if verb == "drop" {
		cmd.Short = "Let dead letters be"
		cmd.Long = `Writes down that letters are done, with who said so and when, so that they are no longer listed or counted. Their bytes stay
on dead.v1 as long as it keeps them: kemi dead list --done shows them.`
		cmd.Example = "  kemi dead drop 17 18\n  kemi dead drop --all --reason 'not Kemi' --comment 'a test of the storage team'"
	}
	outputFlag(cmd, &output)
	cmd.Flags().BoolVar(&s.All, "all", false, "all that are not done, or all that the filters choose")
	letterFlags(cmd, &c, &s)
	cmd.Flags().StringVar(&s.By, "by", "", "who does it; without it, the name of your account")
	cmd.Flags().StringVar(&s.Comment, "comment", "", "why")
	c.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, arg := range args {
			id, err := letterID(arg)
			if err != nil {
				return err
			}
			s.IDs = append(s.IDs, id)
		}
		switch filtered := s.Topic+s.Group+s.Reason+s.Since != ""; {
		case s.All && len(args) > 0:
			return usageError{errors.New("name letters or say --all, not both")}
		case !s.All && filtered:
			return usageError{errors.New("filters go with --all")}
		case !s.All && len(args) == 0:
			return usageError{fmt.Errorf("name the letters to %s, or say --all: kemi dead list shows them", verb)}
		}
		if s.By == "" {
			if me, err := user.Current(); err == nil {
				s.By = me.Username
			}
		}
		s.Since = when(s.Since, time.Now())
		body, err := json.Marshal(s)
		if err != nil {
			return err
		}
		resp, err := c.do(cmd.Context(), "POST", "/dead/"+verb, nil, bytes.NewReader(body))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var all []bus.Settled
		if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
			return fmt.Errorf("read the answer of %s: %w", c.server, err)
		}
		return saySettled(cmd.OutOrStdout(), output, past, all)
	}
	return cmd
}

// saySettled says what became of letters; it is an error when something was left of those that were named.
func saySettled(w io.Writer, output, past string, all []bus.Settled) error {
	n := 0
	for _, one := range all {
		if one.Why == "" {
			n++
		}
	}
	if output == "json" {
		if err := printJSON(w, all); err != nil {
			return err
		}
	} else {
		for _, one := range all {
			if one.Why != "" {
				fmt.Fprintf(w, "%d: not %s: %s\n", one.ID, past, plain(one.Why))
			}
		}
		if _, err := fmt.Fprintf(w, "%d of %d letters %s\n", n, len(all), past); err != nil {
			return err
		}
	}
	if n < len(all) {
		return errWrong
	}
	return nil
}
