package watchdog

import (
	"context"
	"io"
	"slices"
	"strconv"
)

// What follows is short for packages fmt, bufio and strings, which would have many others be initialised before this one.

// lines reads lines.
type lines struct {
	in   io.Reader
	held []byte // read, and not handed on
}

// next waits for the next line. It reports false where there are no more.
func (l *lines) next() (line string, there bool) {
	for chunk := make([]byte, 4096); ; {
		if end := slices.Index(l.held, '\n'); end >= 0 {
			line, l.held = string(l.held[:end]), l.held[end+1:]
			return line, true
		}
		n, err := l.in.Read(chunk)
		if l.held = append(l.held, chunk[:n]...); n == 0 && err != nil {
			return "", false
		}
	}
}

// follow hands on the lines from a goroutine, and closes the channel when there are no more.
func (l *lines) follow(ctx context.Context) <-chan string {
	further := make(chan string)
	go func() {
		defer close(further)
		for line, there := l.next(); there; line, there = l.next() {
			select {
			case further <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	return further
}

func say(out io.Writer, line string) error {
	_, err := io.WriteString(out, line+"\n")
	return err
}

// oneLine is the text of an error, which may be several joined.
func oneLine(err error) string {
	text := []byte(err.Error())
	for i, c := range text {
		if c == '\n' {
			text[i] = ' '
		}
	}
	return string(text)
}

func quoted(targets []string) (text string) {
	for i, target := range targets {
		if i > 0 {
			text += ", "
		}
		text += strconv.Quote(target)
	}
	return text
}

// wrapped is an error and what it is about.
type wrapped struct {
	about string
	error
}

func wrap(about string, err error) error {
	if err == nil {
		return nil
	}
	return wrapped{about, err}
}

func (w wrapped) Error() string { return w.about + ": " + w.error.Error() }

func (w wrapped) Unwrap() error { return w.error }
