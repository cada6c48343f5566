package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ending is how a boot ended.
type ending struct {
	started bool // the command began
	exited  bool // and ended, with code
	code    int
	cut     bool
	missing []string // files that were to be brought back and are not there
	files   *os.File // a tar archive of those that are
	console string   // the last messages of the kernel
}

// run boots the machine and waits for it to end. A machine that does not come as far as the command is
// started again: under emulation on a busy host, a kernel now and then fails to boot.
func (m *machine) run(ctx context.Context, boot int, cut time.Duration) (ending, error) {
	const tries = 3
	for try := 1; ; try++ {
		end, err := m.boot(ctx, boot, cut)
		switch {
		case err != nil || end.exited || end.cut || ctx.Err() != nil:
			return end, err
		case end.started:
			return end, fmt.Errorf("the VM died under the command. Its kernel said last:\n%s", end.console)
		case try == tries:
			return end, fmt.Errorf("the VM does not boot. Its kernel said last:\n%s", end.console)
		}
		note("the VM did not boot, trying once more")
	}
}

// process is QEMU while it runs, with the descriptors it is given. Descriptor 3 is the first of them.
type process struct {
	given   []*os.File
	pipes   []*os.File // those of given that end when QEMU does
	readers sync.WaitGroup
}

// pass gives QEMU a file, and returns the name under which QEMU can open it.
func (p *process) pass(file *os.File) string {
	p.given = append(p.given, file)
	return fmt.Sprintf("/proc/self/fd/%d", 2+len(p.given))
}

// pipe gives QEMU something to write to, and has it read to the end.
func (p *process) pipe(read func(io.Reader)) (string, error) {
	from, to, err := os.Pipe()
	if err != nil {
		return "", err
	}
	p.readers.Go(func() {
		defer func() { _ = from.Close() }()
		read(from)
	})
	p.pipes = append(p.pipes, to)
	return p.pass(to), nil
}

func (m *machine) boot(ctx context.Context, boot int, cut time.Duration) (ending, error) {
	const bootTime = 90 * time.Second // for 2 s on an idle machine
	ctx, kill := context.WithCancel(ctx)
	defer kill()
	var end ending
	var wasCut atomic.Bool
	notBooted := time.AfterFunc(bootTime, kill)
	defer notBooted.Stop()
	cutAfter := sync.OnceFunc(func() {
		if cut > 0 {
			time.AfterFunc(cut, func() { wasCut.Store(true); kill() })
		}
	})
	started := func() {
		notBooted.Stop()
		if m.o.cutFrom == "" {
			cutAfter()
		}
	}
	var err error
	if end.files, err = nameless(os.TempDir()); err != nil {
		return end, err
	}
	initramfs, err := m.initramfs(boot)
	if err != nil {
		return end, err
	}
	defer func() { _ = initramfs.Close() }()

	p := &process{}
	console := &tail{}
	args := m.arguments(p, initramfs)
	for _, port := range []struct {
		name string
		read func(io.Reader)
	}{
		{"console", func(r io.Reader) { m.readConsole(r, console) }},
		{"stdout", func(r io.Reader) { m.readOutput(r, cutAfter) }},
		{"stderr", func(r io.Reader) { _, _ = io.Copy(os.Stderr, r) }},
		{"events", func(r io.Reader) { end.read(r, started) }},
		{"files", func(r io.Reader) { _, _ = io.Copy(end.files, r) }},
	} {
		file, err := p.pipe(port.read)
		if err != nil {
			return end, err
		}
		args = append(args, "-chardev", "file,id="+port.name+",path="+file)
		if port.name == "console" {
			args = append(args, "-serial", "chardev:console", "-device", "virtio-serial-pci")
		} else {
			args = append(args, "-device", "virtserialport,chardev="+port.name)
		}
	}
	complaint, err := p.wait(ctx, args)
	end.console = console.String()
	end.cut = wasCut.Load() && !end.exited
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("qemu-system-x86_64: %w: %s", err, strings.TrimSpace(complaint))
		return end, err
	}
	return end, nil
}

// wait runs QEMU until it ends or ctx does, and until all it wrote is read.
func (p *process) wait(ctx context.Context, args []string) (complaint string, err error) {
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	var said bytes.Buffer
	qemu.Stderr = &said
	qemu.ExtraFiles = p.given
	// Of its own group, so that an interrupt of the terminal is the launcher's to handle.
	qemu.SysProcAttr = &unix.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	err = qemu.Start()
	for _, pipe := range p.pipes {
		_ = pipe.Close()
	}
	if err == nil {
		err = qemu.Wait()
	}
	p.readers.Wait()
	return said.String(), err
}

// arguments are those of QEMU but for the ports.
func (m *machine) arguments(p *process, initramfs *os.File) []string {
	args := []string{
		"-name", fmt.Sprintf("loam-vm-%d", os.Getpid()), "-machine", "q35", "-accel", "tcg,thread=multi",
		// Emulated, AVX is slow, AES instructions stall a driver of Linux 6.1, and cmpxchg16b crashes 6.12.
		"-cpu", "Nehalem,-cx16,+rdrand",
		"-smp", strconv.Itoa(m.o.processors), "-m", strconv.Itoa(m.o.memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", m.img.kernel, "-initrd", p.pass(initramfs),
		// A panic ends the VM. On a busy host the timer check fails for want of time. A program that is always
		// at the same addresses is translated once and not with each process, which halves the time of an lvm command.
		"-append", "console=ttyS0 quiet loglevel=5 panic=-1 oops=panic no_timer_check mitigations=off norandmaps random.trust_cpu=on",
	}
	disks := append(m.disks[:len(m.disks):len(m.disks)], m.scratch)
	for i, file := range disks {
		serial := fmt.Sprintf("disk%d", i)
		if file == m.scratch {
			serial = "scratch"
		}
		args = append(args,
			"-drive", fmt.Sprintf("id=disk%d,file=%s,format=raw,if=none,cache=unsafe,discard=unmap", i, p.pass(file)),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d,serial=%s", i, serial))
	}
	return args
}

// read takes in what the guest says of its course.
func (e *ending) read(events io.Reader, started func()) {
	lines := bufio.NewScanner(events)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "start":
			e.started = true
			started()
		case "missing":
			e.missing = append(e.missing, rest)
		case "exit":
			code, err := strconv.Atoi(rest)
			e.code, e.exited = code, err == nil
		}
	}
	_, _ = io.Copy(io.Discard, events)
}

// readOutput prints what the command prints, and says when the text comes that a cut waits for.
func (m *machine) readOutput(r io.Reader, found func()) {
	if m.o.cutFrom == "" {
		_, _ = io.Copy(os.Stdout, r)
		return
	}
	for lines := bufio.NewReader(r); ; {
		line, err := lines.ReadString('\n')
		_, _ = os.Stdout.WriteString(line)
		if strings.Contains(line, m.o.cutFrom) {
			found()
		}
		if err != nil {
			return
		}
	}
}

func (m *machine) readConsole(r io.Reader, last *tail) {
	out := io.Writer(last)
	if m.o.console {
		out = io.MultiWriter(last, os.Stderr)
	}
	_, _ = io.Copy(out, r)
}

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	const keep = 8 << 10
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-keep):]
	return len(p), nil
}

func (t *tail) String() string {
	if len(t.text) == 0 {
		return "(nothing)"
	}
	return strings.ToValidUTF8(string(t.text), "?")
}
