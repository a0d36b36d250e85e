"""One child process, kept running: started, watched, ended, started again."""
