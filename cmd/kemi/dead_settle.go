package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/cmd/kemi/api"
)

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
not handle them, so a record that several groups gave up is put back once, and all its letters are done, also those that were
not named: an event has the identity that it had, and who knows it already takes it for what it is. What a webhook of a
team did not take (the group subscription-NAME) is delivered again to that subscription alone.

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
	n, records := 0, 0
	for _, one := range all {
		if one.Why != "" {
			continue
		}
		if n++; one.Of == nil {
			records++
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
		said := fmt.Sprintf("%d of %d letters %s", n, len(all), past)
		if past == bus.Retried {
			said = fmt.Sprintf("%s (%s) %s", counted(records, "record"), counted(n, "letter"), past)
			if n < len(all) {
				said += fmt.Sprintf(", %s not", counted(len(all)-n, "letter"))
			}
		}
		if _, err := fmt.Fprintln(w, said); err != nil {
			return err
		}
	}
	if n < len(all) {
		return errWrong
	}
	return nil
}

// counted is a number of things in words.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
