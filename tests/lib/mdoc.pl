#!/usr/bin/perl
# The items of a manual page's lists, as a reader sees them, one a line: section, subsection, the items it stands in,
# its own heading, its text; with tabs between.
#
#   mdoc.pl PAGE
use strict;
use warnings;

my ($section, $subsection) = ('', '');
my @lists;    # of lists that are open: the item that each is at, an index of @items
my @items;    # {where, path, heading, text}

# A line of macros as text: -f, --yes, [--why TEXT], "shop", shop/web.
sub rendered {
	my ($line) = @_;
	my @words = $line =~ /"[^"]*"|\S+/g;
	my ($text, $glue, $open, $prefix, $quote) = ('', 1, 0, '', '');

	for my $word (@words) {
		$word =~ s/^"(.*)"$/$1/;
		if ($word =~ /^(Ar|Cm|Li|Ev|Pa|Sy|Ic|Em|Sx|Nm|Xr|No|Va)$/) { $prefix = ''; $quote = ''; next }
		if ($word eq 'Fl') { $prefix = '-'; next }
		if ($word eq 'Ns') { $glue = 1; $prefix = ''; next }
		if ($word eq 'Ql' || $word eq 'Dq') { $prefix = ''; next }
		if ($word eq 'Op') { $text .= $glue ? '[' : ' ['; $glue = 1; $open .= ']'; $prefix = ''; next }
		if ($word eq 'Pq') { $text .= $glue ? '(' : ' ('; $glue = 1; $open .= ')'; $prefix = ''; next }
		if ($word eq 'Oo') { $text .= $glue ? '[' : ' ['; $glue = 1; $prefix = ''; next }
		if ($word eq 'Oc') { $text .= ']'; $prefix = ''; next }
		if ($word =~ /^[.,;:)]$/) { $text .= $word; next }
		$word =~ s/\\&//g;
		$word =~ s/\\\(dq/"/g;
		$word =~ s/\\-/-/g;
		$text .= ($glue ? '' : ' ') . ($word eq '|' ? '' : $prefix) . $word;
		$glue = $word eq '(';
	}
	$open =~ s/^0//;
	return $text . reverse $open;
}

open my $page, '<', $ARGV[0] or die "$ARGV[0]: $!\n";
while (my $line = <$page>) {
	chomp $line;
	if ($line =~ /^\.Sh (.*)/) { ($section, $subsection, @lists) = ($1, '') }
	elsif ($line =~ /^\.Ss (.*)/) { ($subsection, @lists) = ($1) }
	elsif ($line =~ /^\.Bl /) { push @lists, undef }
	elsif ($line =~ /^\.El/) { pop @lists }
	elsif ($line =~ /^\.It ?(.*)/ && @lists) {
		my ($heading, $rest) = split / Ta /, $1, 2; # a row of columns
		$heading //= ''; # of a bullet
		my @path = map { defined $_ ? $items[$_]{heading} : '' } @lists[0 .. $#lists - 1];
		push @items, {where => "$section\t$subsection", path => join(' > ', @path), heading => rendered($heading),
			text => defined $rest ? " $rest" : ''};
		$lists[-1] = $#items;
	} elsif (@lists && defined $lists[-1] && $line !~ /^\.(\\"|Pp|Bd|Ed)/) {
		my $text = $line =~ s/^\.// ? rendered($line) : $line =~ s/\\&//gr;
		for my $at (grep { defined } @lists) { $items[$at]{text} .= " $text" }
	}
}
print join("\t", @$_{qw(where path heading)}, $_->{text} =~ s/^ //r =~ s/ ([.,;:)])/$1/gr), "\n" for @items;
