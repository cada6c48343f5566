package volume

import (
	"regexp"
	"slices"
	"strings"
)

// optionForm is what may stand behind the names of mount options: a pattern, and the same in words.
type optionForm struct{ pattern, words, names string }

// labelled is the form of SELinux contexts. In no other value is a comma or a quotation mark: file systems part
// options at all commas. fsconfig(2) takes 255 bytes.
const labelled = `=(?:[A-Za-z0-9_.:-]{1,255}|"[A-Za-z0-9_.:,-]{1,255}")`

func flags(names string) optionForm { return optionForm{``, `takes no value`, names} }

func numbers(names string) optionForm { return optionForm{`=[0-9]{1,10}`, `takes a number`, names} }

func sizes(names string) optionForm {
	return optionForm{`=[0-9]{1,12}[kKmMgG]?`, `takes a number of bytes, such as 64k`, names}
}

func words(names string, values ...string) optionForm {
	return optionForm{`=(?:` + strings.Join(values, "|") + `)`, `takes one of ` + strings.Join(values, ", "), names}
}

// maybe is the form of options that may also stand without a value.
func maybe(f optionForm) optionForm {
	return optionForm{`(?:` + f.pattern + `)?`, f.words + `, or nothing`, f.names}
}

// genericMountOptions are those of every file system (mount(8), FILESYSTEM-INDEPENDENT MOUNT OPTIONS). Left
// out is what mount(8) itself acts on, or reads in /etc/fstab only.
var genericMountOptions = []optionForm{
	flags("defaults ro rw async sync dirsync atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime lazytime nolazytime"),
	flags("dev nodev exec noexec suid nosuid nosymfollow iversion noiversion mand nomand silent loud"),
	{labelled, `takes an SELinux context, in double quotation marks where there is a comma in it`, "context fscontext defcontext rootcontext"},
}

// mountOptions are the further ones of each file system: of its man page in section 5 and the kernel's
// documentation all that concern the file system on this device and nothing else. Left out is what names
// another device, mounts a part or an older state of what is there, stops the machine, or tests the kernel;
// mount_options_test.go says of each why.
var mountOptions = map[FSType][]optionForm{
	Ext4: {
		flags("acl noacl user_xattr nouser_xattr bsddf minixdf nocheck debug grpid bsdgroups nogrpid sysvgroups nouid32 oldalloc orlov i_version"),
		flags("quota noquota usrquota grpquota prjquota norecovery noload nobarrier journal_checksum nojournal_checksum journal_async_commit"),
		flags("delalloc nodelalloc noauto_da_alloc noinit_itable discard nodiscard block_validity noblock_validity nombcache no_mbcache inlinecrypt"),
		flags("dioread_lock dioread_nolock nodioread_nolock prefetch_block_bitmaps no_prefetch_block_bitmaps"),
		numbers("resgid resuid commit inode_readahead_blks stripe max_batch_time min_batch_time max_dir_size_kb"),
		words("check", "none"), words("errors", "continue", "remount-ro"), words("data", "journal", "ordered", "writeback"),
		words("data_err", "ignore", "abort"), words("jqfmt", "vfsold", "vfsv0", "vfsv1"), words("mb_optimize_scan", "0", "1"),
		words("journal_ioprio", "0", "1", "2", "3", "4", "5", "6", "7"), maybe(words("barrier auto_da_alloc", "0", "1")),
		maybe(numbers("init_itable")), maybe(words("dax", "inode", "never", "always")),
		{`=[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}`, `takes the name of a file in the root directory of the file system`, "usrjquota grpjquota"},
	},
	XFS: {
		flags("attr2 noattr2 discard nodiscard grpid bsdgroups nogrpid sysvgroups filestreams ikeep noikeep inode32 inode64 largeio nolargeio"),
		flags("noalign swalloc norecovery nouuid wsync lifetime nolifetime noquota uquota usrquota quota uqnoenforce qnoenforce"),
		flags("gquota grpquota gqnoenforce pquota prjquota pqnoenforce"),
		numbers("sunit swidth max_open_zones"), sizes("allocsize logbsize max_atomic_write"),
		words("logbufs", "2", "3", "4", "5", "6", "7", "8"), maybe(words("dax", "inode", "never", "always")),
	},
	Btrfs: {
		flags("acl noacl autodefrag noautodefrag barrier nobarrier clear_cache datacow nodatacow datasum nodatasum nodiscard"),
		flags("enospc_debug noenospc_debug flushoncommit noflushoncommit nologreplay norecovery rescan_uuid_tree skip_balance nospace_cache"),
		flags("ssd ssd_spread nossd nossd_spread treelog notreelog usebackuproot user_subvol_rm_allowed"),
		numbers("commit metadata_ratio thread_pool"), sizes("max_inline"),
		maybe(words("discard", "sync", "async")), maybe(words("space_cache", "v1", "v2")),
		words("rescue", "usebackuproot", "nologreplay", "ignorebadroots", "ibadroots", "ignoredatacsums", "idatacsums", "ignoremetacsums", "imetacsums",
			"ignoresuperflags", "isuperflags", "all"),
		{`(?:=(?:no|none|lzo|zlib(?::[0-9])?|zstd(?::-?[0-9]{1,2})?))?`, `takes no, lzo, zlib or zstd, the last two perhaps with a level as in zstd:3, or nothing`,
			"compress compress-force"},
	},
}

// MountOptions returns the names of the options that may be given for a file system, in their order: those
// of every one where t is empty, and else its own.
func MountOptions(t FSType) []string {
	var names []string
	for _, f := range formsFor(t) {
		names = append(names, strings.Fields(f.names)...)
	}
	slices.Sort(names)
	return names
}

func formsFor(t FSType) []optionForm {
	if t == "" {
		return genericMountOptions
	}
	return mountOptions[t]
}

// CheckMountOptions says whether the options may be handed to the kernel for the file system t, or together
// for some one where t is empty. Each is one option that concerns this file system and nothing else, with a
// value of its form. None is there with two values or beside its opposite: which of them counts would be a
// matter of their order and of who reads them. The kind of its error is Invalid. Its message names the
// option; the value may be a secret, and is not in it.
func CheckMountOptions(options []string, t FSType) error {
	types := []FSType{t}
	if t == "" {
		types = FSTypes()
	}
	for i, option := range options {
		fitting := slices.DeleteFunc(slices.Clone(types), func(t FSType) bool { return !allowsMountOption(t, option) })
		if len(fitting) == 0 {
			return refusedMountOption(option, types)
		}
		if err := checkContradiction(option, options[:i]); err != nil {
			return err
		}
		types = fitting
	}
	return nil
}

// allowsMountOption reports whether the option may be given for the file system t, which is not empty.
func allowsMountOption(t FSType, option string) bool {
	name, f, known := mountOptionForm(t, option)
	return known && regexp.MustCompile(`^(?:`+f.pattern+`)$`).MatchString(option[len(name):])
}

func mountOptionForm(t FSType, option string) (name string, f optionForm, known bool) {
	name = mountOptionName(option)
	for _, f := range slices.Concat(genericMountOptions, mountOptions[t]) {
		if slices.Contains(strings.Fields(f.names), name) {
			return name, f, true
		}
	}
	return name, optionForm{}, false
}

func mountOptionName(option string) string {
	if end := strings.IndexAny(option, "=,"); end >= 0 {
		return option[:end]
	}
	return option
}

// refusedMountOption says why an option cannot be given for any of the file systems.
func refusedMountOption(option string, types []FSType) error {
	known := func(t FSType) bool { _, _, known := mountOptionForm(t, option); return known }
	why := "is not among the options that can be given for a volume"
	if i := slices.IndexFunc(types, known); i >= 0 {
		_, f, _ := mountOptionForm(types[i], option)
		why = f.words
	} else if slices.ContainsFunc(FSTypes(), known) {
		why = "is for another file system than " + string(types[0]) + ", or than the options before it"
	}
	if strings.Contains(option, ",") {
		why += "; each option is an element of its own, without commas"
	}
	return Errorf(Invalid, "mount option %q %s", printable(mountOptionName(option)), why)
}

// checkContradiction says whether an option goes together with those before it.
func checkContradiction(option string, before []string) error {
	name := mountOptionName(option)
	for _, other := range before {
		switch otherName := mountOptionName(other); {
		case otherName == name && other != option:
			return Errorf(Invalid, "mount option %q is there twice with different values", printable(name))
		case opposite(name, otherName) || opposite(otherName, name):
			return Errorf(Invalid, "mount options %q and %q contradict each other: leave one of them out", printable(otherName), printable(name))
		}
	}
	return nil
}

// opposite reports whether b says the opposite of a.
func opposite(a, b string) bool {
	return b == "no"+a || a == "ro" && b == "rw" || a == "sync" && b == "async" || a == "silent" && b == "loud"
}
