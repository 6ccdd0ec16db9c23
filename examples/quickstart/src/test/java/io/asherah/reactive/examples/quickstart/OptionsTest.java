package io.asherah.reactive.examples.quickstart;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.examples.quickstart.Options.Command;
import io.asherah.reactive.examples.quickstart.Options.UsageException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class OptionsTest {

  @Test
  void noArguments_demonstrateOnTheReadme() throws Exception {
    assertThat(Options.parse())
        .isEqualTo(new Options(Command.DEMONSTRATE, "shopper123", null, null));
  }

  @Test
  void demonstration_takesAFileAndAStore() throws Exception {
    assertThat(parse("--store keys text --partition p"))
        .isEqualTo(
            new Options(
                Command.DEMONSTRATE, "p", Path.of("text"), new Store(Path.of("keys"), null)));
  }

  @ParameterizedTest
  @CsvSource({"encrypt, ENCRYPT", "decrypt, DECRYPT"})
  void command_comesFirst_andOptionsInAnyOrder(String name, Command command) throws Exception {
    Store store = new Store(Path.of("keys"), Path.of("key"));

    assertThat(parse(name + " --partition p --master-key key --store keys"))
        .isEqualTo(new Options(command, "p", null, store));
    assertThat(parse(name + " --store keys --master-key key --partition p"))
        .isEqualTo(new Options(command, "p", null, store));
  }

  @ParameterizedTest
  @ValueSource(strings = {"--help", "-h", "encrypt --help", "decrypt -h", "--store a;b --help"})
  void help_comesBeforeErrors(String arguments) throws Exception {
    assertThat(parse(arguments).command()).isEqualTo(Command.HELP);
  }

  @Test
  void fileNamedLikeACommand_isWrittenWithItsDirectory() throws Exception {
    assertThat(parse("./encrypt").file()).isEqualTo(Path.of("./encrypt"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "encrypt --partition p            | encrypt needs --store: without one, the keys would be gone with this process",
        "decrypt --partition p            | decrypt needs --store: without one, the keys would be gone with this process",
        "encrypt --store s                | encrypt needs --partition: whose data it is",
        "decrypt --store s                | decrypt needs --partition: whose data it is",
        "encrypt --store s --partition p f| a command takes no file: it reads standard input",
        "--store s decrypt                | the command decrypt comes first; a file of that name is ./decrypt",
        "--master-key k                   | --master-key needs --store: other keys end with this run anyway",
        "encrypt --partition p --store    | --store needs a file",
        "--store s --master-key           | --master-key needs a file with 32 bytes",
        "--store a;CIPHER=AES             | the store cannot be a;CIPHER=AES: its path has a semicolon, after which H2 reads settings",
        "--store keys.mv.db               | the store cannot be keys.mv.db: leave out .mv.db, which H2 appends",
        "--store .                        | the store cannot be .: it is a directory; name a file in it",
        "--store absent/                  | the store cannot be absent/: it is a directory; name a file in it",
        "--store /                        | the store cannot be /: it is a directory; name a file in it",
      })
  void whatMakesNoSense_isRefusedWithTheReason(String arguments, String reason) {
    assertThatThrownBy(() -> parse(arguments))
        .isInstanceOf(UsageException.class)
        .hasMessage(reason + "; see --help");
  }

  @Test
  void backslash_isRefused_whereH2WouldMakeADirectoryOfIt() {
    assertThatThrownBy(() -> parse("--store a\\b"))
        .isInstanceOf(UsageException.class)
        .hasMessage(
            "the store cannot be a\\b: its path has a backslash, which H2 takes for a slash; see"
                + " --help");
  }

  private static Options parse(String arguments) throws UsageException {
    return Options.parse(arguments.split(" "));
  }
}
